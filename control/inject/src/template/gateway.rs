//! The template `gateway`: the pod is the proxy, so nothing is redirected.

use serde_json::{Map, Value, json};

use super::{Frame, container, volumes};
use crate::annotations::names;
use crate::pod::canonical_service;

pub(super) fn render(frame: &Frame<'_>) -> Value {
    let (canonical, revision) = canonical_service(frame.pod, &frame.workload);
    json!({
        "metadata": {
            "labels": {names::CANONICAL_NAME: canonical, names::CANONICAL_REVISION: revision},
            "annotations": annotations(frame),
        },
        "spec": {
            // The service ports are low ports, and the proxy is not root.
            "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
            "containers": [container::gateway(frame)],
            "volumes": volumes::all(frame),
        },
    })
}

pub(super) fn annotations(frame: &Frame<'_>) -> Map<String, Value> {
    let mut annotations = Map::new();
    annotations.insert(names::REVISION.to_owned(), json!(frame.injector.revision()));
    let webhook = &frame.injector.values.sidecar_injector_webhook.injected_annotations;
    for (name, value) in frame.injector.config.injected_annotations.iter().chain(webhook) {
        annotations.insert(name.clone(), json!(value));
    }
    annotations
}
