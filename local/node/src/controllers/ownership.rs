//! Who controls what: references to owners, and taking over what nobody controls.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Fault;
use super::workload::selector_text;

/// A kind whose objects control others.
pub trait Owner:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}
impl<K> Owner for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

/// A reference that makes `owner` the controller of what carries it; a deletion in the foreground waits for that.
pub fn controlled_by<K>(owner: &K) -> Vec<OwnerReference>
where
    K: Resource<DynamicType = ()>,
{
    let reference = owner.controller_owner_ref(&());
    reference.map(|owner| OwnerReference { block_owner_deletion: Some(true), ..owner }).into_iter().collect()
}

/// Whether the object's controller is the one with this uid.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// The pods that `owner` controls, those being deleted included.
pub async fn pods_of<K: Owner>(
    client: &Client,
    owner: &K,
    selector: &LabelSelector,
) -> Result<Vec<Pod>, Fault> {
    let namespace = owner.meta().namespace.as_deref().unwrap_or("default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default().labels(&selector_text(selector))).await?;
    claim(client, owner, &pods, list.items).await
}

/// What of the objects that its selector finds `owner` controls. It takes over those that nobody controls, such as what
/// `kubectl delete --cascade=orphan` left.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub async fn claim<K, T>(client: &Client, owner: &K, api: &Api<T>, found: Vec<T>) -> Result<Vec<T>, Fault>
where
    K: Owner,
    T: Resource + Clone + DeserializeOwned + Debug,
{
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    let (mut claimed, mut free) = (Vec::new(), Vec::new());
    for object in found {
        let meta = object.meta();
        if is_controlled_by(meta, uid) {
            claimed.push(object);
        } else if is_free(meta) {
            free.push(object);
        }
    }
    if free.is_empty() || !lives(client, owner).await? {
        return Ok(claimed);
    }
    for object in free {
        let meta = object.meta();
        let mut references = meta.owner_references.clone().unwrap_or_default();
        references.extend(controlled_by(owner));
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": references,
        }});
        let parameters = PatchParams::default();
        claimed.push(api.patch(&object.name_any(), &parameters, &Patch::Merge(patch)).await?);
    }
    Ok(claimed)
}

fn is_free(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_none()
        && !meta.owner_references.iter().flatten().any(|reference| reference.controller == Some(true))
}

/// Whether the owner is there and stays. Asked anew: what a watch has told may be older than the deletion that set free what is
/// found now, and to take it over again would be its end.
async fn lives<K>(client: &Client, owner: &K) -> Result<bool, Fault>
where
    K: Owner,
{
    if owner.meta().deletion_timestamp.is_some() {
        return Ok(false);
    }
    let api: Api<K> = Api::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let now = api.get_metadata_opt(&owner.name_any()).await?;
    Ok(now
        .is_some_and(|now| now.metadata.uid == owner.meta().uid && now.metadata.deletion_timestamp.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Request, Response};
    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use kube::client::Body;
    use std::convert::Infallible;

    fn metadata(extra: serde_json::Value) -> serde_json::Value {
        let mut metadata = json!({"name": "web", "namespace": "default", "uid": "1"});
        metadata.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        metadata
    }

    /// What a Deployment that a watch told of some time ago claims, when this is what the API server says of it.
    async fn claimed(now: serde_json::Value) -> usize {
        let client = Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let answer = match *request.method() {
                    Method::PATCH => json!({"metadata": {"name": "web-1"}}),
                    _ => {
                        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": now})
                    }
                };
                async move { Ok::<_, Infallible>(Response::new(Body::from(answer.to_string().into_bytes()))) }
            }),
            "default",
        );
        let object = |value| serde_json::from_value(value).unwrap();
        let owner: Deployment = object(json!({"metadata": metadata(json!({}))}));
        let found: Vec<ReplicaSet> =
            vec![serde_json::from_value(json!({"metadata": {"name": "web-1", "uid": "2"}})).unwrap()];
        let api: Api<ReplicaSet> = Api::namespaced(client.clone(), "default");
        claim(&client, &owner, &api, found).await.unwrap().len()
    }

    #[tokio::test]
    async fn only_who_stays_takes_over() {
        assert_eq!(claimed(metadata(json!({}))).await, 1);
        let going = metadata(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
        assert_eq!(claimed(going).await, 0, "what its deletion set free stays free");
        assert_eq!(claimed(metadata(json!({"uid": "3"}))).await, 0, "another of that name");
    }
}
