//! Volumes of an injected pod, and where the proxy finds them.

use serde_json::{Value, json};

use super::Frame;
use crate::annotations::names;

pub(super) fn all(frame: &Frame<'_>) -> Vec<Value> {
    let audience = &frame.injector.values.global.sds.token.aud;
    let mut volumes = vec![
        json!({"name": "workload-socket", "emptyDir": {}}),
        json!({"name": "credential-socket", "emptyDir": {}}),
        json!({"name": "workload-certs", "emptyDir": {}}),
        json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
        json!({"name": "istio-data", "emptyDir": {}}),
        json!({"name": "istio-podinfo", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        ]}}),
        json!({"name": "istio-token", "projected": {"sources": [
            {"serviceAccountToken": {"audience": audience, "expirationSeconds": 43200, "path": "istio-token"}},
        ]}}),
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
    ];
    if let Some(config_map) = frame.pod.annotation(names::BOOTSTRAP_OVERRIDE) {
        volumes.push(json!({"name": "custom-bootstrap-volume", "configMap": {"name": config_map}}));
    }
    volumes.extend(user_list(frame, names::USER_VOLUME));
    volumes
}

pub(super) fn mounts(frame: &Frame<'_>) -> Vec<Value> {
    let mut mounts: Vec<Value> = [
        ("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
        ("credential-socket", "/var/run/secrets/credential-uds"),
        ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"),
        ("istiod-ca-cert", "/var/run/secrets/istio"),
        ("istio-data", "/var/lib/istio/data"),
        ("istio-envoy", "/etc/istio/proxy"),
        ("istio-token", "/var/run/secrets/tokens"),
        ("istio-podinfo", "/etc/istio/pod"),
    ]
    .into_iter()
    .map(|(name, path)| json!({"name": name, "mountPath": path}))
    .collect();
    if frame.pod.annotation(names::BOOTSTRAP_OVERRIDE).is_some() {
        mounts.push(json!({"name": "custom-bootstrap-volume", "mountPath": "/etc/istio/custom-bootstrap"}));
    }
    mounts.extend(user_list(frame, names::USER_VOLUME_MOUNT));
    mounts
}

/// Both annotations may hold a list of objects, or a map from name to object.
fn user_list(frame: &Frame<'_>, annotation: &str) -> Vec<Value> {
    let text = frame.pod.annotation(annotation);
    match text.and_then(|text| serde_json::from_str(text).ok()) {
        Some(Value::Array(list)) => list,
        Some(Value::Object(map)) => map.into_iter().map(|(name, value)| named(name, value)).collect(),
        _ => Vec::new(),
    }
}

fn named(name: String, mut value: Value) -> Value {
    if value.is_object() {
        value["name"] = json!(name);
    }
    value
}
