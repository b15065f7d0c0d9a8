//! Defaults of the built-in kinds, as the real server fills them in.

mod pod;
mod workload;

pub use pod::{pod_spec, qos};

use crate::object::{as_map, child, default, items_mut, str_of};
use crate::registry::Resource;
use crate::schema::structural;
use serde_json::{Map, Value, json};

/// Fills in what the user left out.
pub fn apply(resource: &Resource, value: &mut Value) {
    if resource.custom.is_some() {
        structural::apply_defaults(resource.schema.node(), value);
        structural::drop_nulls(resource.schema.node(), value);
        return;
    }
    drop_nulls(value);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => {
            pod_spec(child(value, "spec"));
            default(child(value, "spec"), "enableServiceLinks", true);
        }
        ("", "services") => service(child(value, "spec")),
        ("", "secrets") => secret(value),
        ("", "events") => event(value),
        ("", "persistentvolumeclaims") => default(child(value, "spec"), "volumeMode", "Filesystem"),
        ("", "persistentvolumes") => volume(child(value, "spec")),
        ("", "replicationcontrollers") => workload::replication_controller(value),
        ("", "endpoints") => endpoints(value),
        ("apps" | "batch", plural) => workload::defaults(plural, value),
        ("discovery.k8s.io", _) => slice(value),
        ("admissionregistration.k8s.io", _) => webhooks(value),
        ("rbac.authorization.k8s.io", _) => rbac(value),
        ("networking.k8s.io", "networkpolicies") => network_policy(value),
        ("autoscaling", _) => default(child(value, "spec"), "minReplicas", 1),
        ("storage.k8s.io", _) => {
            default(as_map(value), "reclaimPolicy", "Delete");
            default(as_map(value), "volumeBindingMode", "Immediate");
        }
        ("scheduling.k8s.io", _) => default(as_map(value), "preemptionPolicy", "PreemptLowerPriority"),
        _ => {}
    }
}

/// A null means "absent" in built-in kinds; only timestamps are kept, as the real server prints them.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn service(spec: &mut Map<String, Value>) {
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    let kind = str_of(spec, "type").to_owned();
    if str_of(spec, "sessionAffinity") == "ClientIP" {
        default(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    for port in items_mut(spec, "ports") {
        let port = as_map(port);
        default(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            default(port, "targetPort", number);
        }
    }
    if kind == "ExternalName" {
        return;
    }
    default(spec, "internalTrafficPolicy", "Cluster");
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    } else {
        spec.shift_remove("externalTrafficPolicy");
        for port in items_mut(spec, "ports") {
            as_map(port).shift_remove("nodePort");
        }
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    } else {
        spec.shift_remove("allocateLoadBalancerNodePorts");
    }
}

fn secret(value: &mut Value) {
    use base64::Engine;
    default(as_map(value), "type", "Opaque");
    // stringData is write-only: it ends up in data.
    if let Some(Value::Object(plain)) = as_map(value).shift_remove("stringData") {
        let data = child(value, "data");
        for (key, text) in plain {
            let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
}

fn event(value: &mut Value) {
    let map = as_map(value);
    for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        map.entry(field).or_insert(Value::Null);
    }
    default(map, "type", "Normal");
    default(map, "source", json!({}));
    default(map, "reportingComponent", "");
    default(map, "reportingInstance", "");
}

fn volume(spec: &mut Map<String, Value>) {
    default(spec, "volumeMode", "Filesystem");
    default(spec, "persistentVolumeReclaimPolicy", "Retain");
    if let Some(host) = spec.get_mut("hostPath") {
        default(as_map(host), "type", "");
    }
}

fn endpoints(value: &mut Value) {
    for subset in items_mut(as_map(value), "subsets") {
        for port in items_mut(as_map(subset), "ports") {
            default(as_map(port), "protocol", "TCP");
        }
    }
}

fn slice(value: &mut Value) {
    for port in items_mut(as_map(value), "ports") {
        let port = as_map(port);
        default(port, "name", "");
        default(port, "protocol", "TCP");
    }
}

fn webhooks(value: &mut Value) {
    let mutating = as_map(value).get("kind").and_then(Value::as_str) == Some("MutatingWebhookConfiguration");
    for hook in items_mut(as_map(value), "webhooks") {
        let hook = as_map(hook);
        default(hook, "failurePolicy", "Fail");
        default(hook, "matchPolicy", "Equivalent");
        default(hook, "namespaceSelector", json!({}));
        default(hook, "objectSelector", json!({}));
        default(hook, "timeoutSeconds", 10);
        if mutating {
            default(hook, "reinvocationPolicy", "Never");
        }
        for rule in items_mut(hook, "rules") {
            default(as_map(rule), "scope", "*");
        }
        if let Some(service) = hook.get_mut("clientConfig").and_then(|c| c.get_mut("service")) {
            default(as_map(service), "port", 443);
        }
    }
}

fn rbac(value: &mut Value) {
    if let Some(reference) = as_map(value).get_mut("roleRef") {
        default(as_map(reference), "apiGroup", "rbac.authorization.k8s.io");
    }
    for subject in items_mut(as_map(value), "subjects") {
        let subject = as_map(subject);
        if matches!(str_of(subject, "kind"), "User" | "Group") {
            default(subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    }
}

fn network_policy(value: &mut Value) {
    let spec = child(value, "spec");
    let egress = spec.get("egress").is_some();
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default(spec, "podSelector", json!({}));
    default(spec, "policyTypes", types);
}

#[cfg(test)]
mod tests;
