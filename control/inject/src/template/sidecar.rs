//! The template `sidecar`.

use serde_json::{Map, Value, json};

use super::{Frame, container, init, volumes};
use crate::annotations::names;
use crate::pod::{canonical_service, name};

pub(super) fn render(frame: &Frame<'_>) -> Value {
    let mut init_containers = Vec::new();
    if frame.config.interception_mode(frame.pod) != "NONE" {
        init_containers.push(init::container(frame));
    }
    let mut containers = Vec::new();
    let mut proxy = container::sidecar(frame);
    if frame.native {
        proxy["restartPolicy"] = json!("Always");
        init_containers.push(proxy);
    } else {
        containers.push(proxy);
    }
    let mut spec = json!({
        "initContainers": init_containers,
        "containers": containers,
        "volumes": volumes::all(frame),
    });
    let secrets = &frame.injector.values.global.image_pull_secrets;
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = secrets.iter().map(|name| json!({"name": name})).collect();
    }
    json!({"metadata": {"labels": labels(frame), "annotations": annotations(frame)}, "spec": spec})
}

fn labels(frame: &Frame<'_>) -> Map<String, Value> {
    let (canonical, revision) = canonical_service(frame.pod, &frame.workload);
    let tls = frame.pod.label(names::TLS_MODE).unwrap_or("istio");
    [(names::TLS_MODE, tls), (names::CANONICAL_NAME, &canonical), (names::CANONICAL_REVISION, &revision)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

/// `kubectl logs` and `exec` must land in the application, not in the proxy.
pub(super) fn annotations(frame: &Frame<'_>) -> Map<String, Value> {
    let mut annotations = super::gateway::annotations(frame);
    if let Some(first) = frame.app_containers().next() {
        for key in ["kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"]
        {
            if frame.pod.annotation(key).is_none() {
                annotations.insert(key.to_owned(), json!(name(first)));
            }
        }
    }
    annotations
}
