//! Events about the objects of controllers, for `kubectl describe`.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt as _};
use serde_json::json;

/// What an event says.
struct Said<'a> {
    severity: &'a str,
    reason: &'a str,
    message: &'a str,
}

/// Writes an event about an object; the same one again raises its count. A failure to write is not worth failing for.
pub(crate) async fn event<K>(client: &Client, about: &K, severity: &str, reason: &str, message: &str)
where
    K: Resource<DynamicType = ()>,
{
    write(client, about, &Said { severity, reason, message }, message).await;
}

/// Writes a warning that is one with all others of its reason: its words change with each attempt.
pub(crate) async fn trouble<K>(client: &Client, about: &K, reason: &str, message: &str)
where
    K: Resource<DynamicType = ()>,
{
    write(client, about, &Said { severity: "Warning", reason, message }, "").await;
}

async fn write<K>(client: &Client, about: &K, said: &Said<'_>, identity: &str)
where
    K: Resource<DynamicType = ()>,
{
    let namespace = about.namespace().unwrap_or_else(|| "default".into());
    let mut hasher = DefaultHasher::new();
    (about.uid(), said.reason, identity).hash(&mut hasher);
    let name = format!("{}.{:016x}", about.name_any(), hasher.finish());
    let now = Time(Timestamp::now());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: about.object_ref(&()),
        type_: Some(said.severity.into()),
        reason: Some(said.reason.into()),
        message: Some(said.message.into()),
        source: Some(EventSource { component: Some("controller-manager".into()), host: None }),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now.clone()),
        count: Some(1),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let written = match events.get_opt(&name).await {
        Ok(Some(before)) => {
            let count = before.count.unwrap_or(1).saturating_add(1);
            let patch = Patch::Merge(json!({"count": count, "message": said.message, "lastTimestamp": now}));
            events.patch(&name, &PatchParams::default(), &patch).await
        }
        _ => events.create(&PostParams::default(), &event).await,
    };
    if let Err(error) = written {
        tracing::debug!(reason = %said.reason, %error, "event not written");
    }
}
