//! Writing a status: what it no longer has goes too.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Fault, gone_is_fine};

/// Writes the status of an object unless it is the one that it has.
///
/// # Errors
/// When the API server refuses it; an object that has gone is none.
pub async fn write<K, S>(client: &Client, object: &K, before: Option<&S>, after: &S) -> Result<(), Fault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    S: Serialize + PartialEq,
{
    if before == Some(after) {
        return Ok(());
    }
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "status": change(&json!(before), json!(after)) }));
    let name = object.name_any();
    gone_is_fine(api.patch_status(&name, &PatchParams::default(), &patch).await)
}

/// A merge patch: a field that it does not name stays as it is, so those that are gone are named.
fn change(before: &Value, mut after: Value) -> Value {
    let old = before.as_object().into_iter().flatten();
    if let Some(new) = after.as_object_mut() {
        for (field, _) in old {
            new.entry(field.clone()).or_insert(Value::Null);
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_taken_away() {
        let before = json!({"active": 1, "ready": 1});
        assert_eq!(change(&before, json!({"ready": 0})), json!({"ready": 0, "active": null}));
        assert_eq!(change(&Value::Null, json!({"ready": 0})), json!({"ready": 0}));
    }
}
