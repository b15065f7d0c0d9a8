//! Kubernetes Events about pods: what `kubectl describe` lists.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;

/// Posts events; the same one again only raises its count.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    component: &'static str,
    node: String,
    seen: std::sync::Arc<Mutex<HashMap<String, (String, u32)>>>,
}

impl Recorder {
    /// A recorder that signs as `component`.
    pub fn new(client: Client, component: &'static str, node: &str) -> Self {
        Self { client, component, node: node.into(), seen: Default::default() }
    }

    /// Posts in the background; events are a courtesy, so failures do not matter.
    pub fn post(&self, pod: &Pod, container: Option<&str>, reason: &str, message: &str) {
        let warning = matches!(
            reason,
            "Failed"
                | "BackOff"
                | "Unhealthy"
                | "FailedMount"
                | "FailedScheduling"
                | "FailedPostStartHook"
                | "FailedPreStopHook"
                | "FailedCreatePodSandBox"
        );
        let field = container.map(|c| format!("spec.containers{{{c}}}"));
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let now = Timestamp::now().to_string();
        let mut event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"namespace": namespace, "name": format!("{name}.{:016x}", fastrand::u64(..))},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name,
                "uid": pod.metadata.uid, "fieldPath": field},
            "reason": reason, "message": message, "type": if warning { "Warning" } else { "Normal" },
            "source": {"component": self.component, "host": self.node},
            "reportingComponent": self.component, "reportingInstance": self.node,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        });
        if field.is_none() {
            event["involvedObject"].as_object_mut().map(|o| o.remove("fieldPath"));
        }
        let key =
            format!("{}/{reason}/{container:?}/{message}", pod.metadata.uid.as_deref().unwrap_or_default());
        let repeated = {
            let mut seen = self.seen.lock();
            if seen.len() > 4096 {
                seen.clear();
            }
            let entry = seen
                .entry(key)
                .or_insert_with(|| (event["metadata"]["name"].as_str().unwrap_or_default().to_owned(), 0));
            entry.1 += 1;
            (entry.1 > 1).then(|| entry.clone())
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        tokio::spawn(async move {
            let result = match repeated {
                Some((name, count)) => {
                    let patch = json!({"count": count, "lastTimestamp": now});
                    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
                }
                None => match serde_json::from_value(event) {
                    Ok(event) => api.create(&PostParams::default(), &event).await.map(|_| ()),
                    Err(_) => Ok(()),
                },
            };
            if let Err(error) = result {
                tracing::debug!(%error, "an event was not recorded");
            }
        });
    }
}
