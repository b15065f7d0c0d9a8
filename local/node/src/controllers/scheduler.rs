//! The scheduler: there is one node, so every pod that waits for one gets it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::controller::Action;

use super::{Context, Fault};

/// Binds one pod to the node.
pub async fn reconcile(pod: Arc<Pod>, context: Arc<Context>) -> Result<Action, Fault> {
    let waits = pod.spec.as_ref().is_some_and(|spec| {
        let ours = matches!(spec.scheduler_name.as_deref(), None | Some("" | "default-scheduler"));
        spec.node_name.is_none() && ours && spec.scheduling_gates.as_deref().unwrap_or_default().is_empty()
    });
    if !waits || pod.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let binding = Binding {
        metadata: ObjectMeta { name: Some(name.clone()), uid: pod.uid(), ..ObjectMeta::default() },
        target: ObjectReference {
            kind: Some("Node".into()),
            name: Some(context.node_name.clone()),
            ..ObjectReference::default()
        },
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    match pods
        .create_subresource::<_, serde_json::Value>("binding", &name, &PostParams::default(), &binding)
        .await
    {
        Ok(_) => {
            let text = format!("Successfully assigned {namespace}/{name} to {}", context.node_name);
            super::event(&context.client, pod.as_ref(), "Normal", "Scheduled", &text).await;
        }
        // Bound already, or gone: the next change tells.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Action::await_change())
}
