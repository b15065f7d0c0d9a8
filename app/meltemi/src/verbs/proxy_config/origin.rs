//! Which object of the user a piece of configuration comes from, and proto-JSON as `istioctl` prints it.

use meltemi_proto::json;
use prost::{Message, Name};
use serde_json::Value;

use super::value::text;

/// `reviews.default` of the object that `metadata.filter_metadata.istio.config` names, if its kind is `kind`
/// (`destination-rule`, `virtual-service`); else nothing.
pub fn object(resource: &Value, kind: &str) -> String {
    // /apis/networking.istio.io/v1alpha3/namespaces/default/destination-rule/reviews
    let path = text(resource, "metadata.filter_metadata.istio.config");
    let parts: Vec<_> = path.rsplit('/').take(4).collect();
    match parts.as_slice() {
        [name, found, namespace, "namespaces"] if *found == kind => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}

/// Resources of one type with the field names of proto-JSON. What does not fit the type stays as it came.
pub fn canonical<'a, M: Message + Name + Default>(resources: impl IntoIterator<Item = &'a Value>) -> Value {
    let convert = |resource: &Value| {
        let mut bare = resource.clone();
        // A dump says the type of each resource; the reader asked for it and knows.
        bare.as_object_mut().map(|fields| fields.remove("@type"));
        let message = json::from_json::<M>(&bare).and_then(|message| json::to_json(&message));
        message.unwrap_or_else(|_| resource.clone())
    };
    Value::Array(resources.into_iter().map(convert).collect())
}
