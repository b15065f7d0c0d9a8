//! What a write may change: status against spec, metadata that only the server sets, generations, and when a deleted
//! object is really gone.

use crate::object::{self, child, is_terminating, list, meta_mut, text};
use crate::registry::Resource;
use serde_json::{Map, Value, json};

/// Metadata that no writer changes.
const FIXED: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// Clears what the creator may not set and fills in what every new object has.
pub fn prepare_create(resource: &Resource, value: &mut Value) {
    let is = |plural: &str| resource.is("", plural);
    if resource.has_status && !is("nodes") && !is("namespaces") {
        object::as_map(value).shift_remove("status");
    }
    if resource.has_generation() {
        meta_mut(value).insert("generation".into(), json!(1));
    }
    if is("namespaces") {
        prepare_namespace(value);
    }
    if is("pods") {
        let class = crate::defaults::qos(value);
        object::as_map(value).insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
    }
    if is("persistentvolumeclaims") || is("persistentvolumes") {
        child(value, "status").insert("phase".into(), json!("Pending"));
    }
    if is("services") {
        child(value, "status").insert("loadBalancer".into(), json!({}));
    }
    if resource.group == "apps" && resource.has_status {
        let status = if resource.plural == "deployments" { json!({}) } else { json!({"replicas": 0}) };
        let daemon = json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0});
        let status = if resource.plural == "daemonsets" { daemon } else { status };
        object::as_map(value).insert("status".into(), status);
    }
}

fn prepare_namespace(value: &mut Value) {
    let name = object::name(value).to_owned();
    child(value, "spec").insert("finalizers".into(), json!(["kubernetes"]));
    object::as_map(value).insert("status".into(), json!({"phase": "Active"}));
    let labels = meta_mut(value).entry("labels").or_insert_with(|| json!({}));
    object::as_map(labels).insert("kubernetes.io/metadata.name".into(), name.into());
}

/// Keeps from the stored object what this write may not touch.
pub fn prepare_update(resource: &Resource, subresource: &str, old: &Value, new: &mut Value) {
    match subresource {
        "status" => keep_all_but_status(resource, old, new),
        "finalize" => {
            let spec = new.get("spec").cloned();
            *new = merged(old, "spec", spec);
        }
        _ if resource.has_status && subresource.is_empty() => {
            let status = old.get("status").cloned();
            put(new, "status", status);
        }
        _ => {}
    }
    let old_meta = object::map(old, "/metadata");
    let meta = meta_mut(new);
    for field in FIXED {
        let kept = old_meta.and_then(|m| m.get(*field)).cloned();
        put_in(meta, field, kept);
    }
    if resource.is("", "namespaces") && subresource != "finalize" {
        let finalizers = old.pointer("/spec/finalizers").cloned();
        put_in(child(new, "spec"), "finalizers", finalizers);
        let name = object::name(old).to_owned();
        let labels = meta_mut(new).entry("labels").or_insert_with(|| json!({}));
        object::as_map(labels).insert("kubernetes.io/metadata.name".into(), name.into());
    }
    refuse_new_finalizers(old, new);
}

fn put(value: &mut Value, key: &str, to: Option<Value>) {
    put_in(object::as_map(value), key, to);
}

fn put_in(map: &mut Map<String, Value>, key: &str, to: Option<Value>) {
    match to {
        Some(to) => {
            map.insert(key.to_owned(), to);
        }
        None => {
            map.shift_remove(key);
        }
    }
}

fn merged(old: &Value, key: &str, value: Option<Value>) -> Value {
    let mut out = old.clone();
    put(&mut out, key, value);
    out
}

fn keep_all_but_status(resource: &Resource, old: &Value, new: &mut Value) {
    let status = new.get("status").cloned();
    let managed = new.pointer("/metadata/managedFields").cloned();
    let version = new.pointer("/metadata/resourceVersion").cloned();
    let notes =
        ["labels", "annotations"].map(|field| (field, new.pointer(&format!("/metadata/{field}")).cloned()));
    let mut out = merged(old, "status", status);
    let meta = meta_mut(&mut out);
    if resource.custom.is_none() {
        notes.into_iter().for_each(|(field, value)| put_in(meta, field, value));
    }
    put_in(meta, "managedFields", managed);
    put_in(meta, "resourceVersion", version);
    *new = out;
}

/// Once deletion has begun, finalizers only leave.
fn refuse_new_finalizers(old: &Value, new: &mut Value) {
    if !is_terminating(old) {
        return;
    }
    let before = list(old, "/metadata/finalizers").to_vec();
    if let Some(Value::Array(now)) = meta_mut(new).get_mut("finalizers") {
        now.retain(|f| before.contains(f));
    }
}

/// Counts the generation up when anything but metadata and status changed.
pub fn bump_generation(resource: &Resource, old: &Value, new: &mut Value) {
    if !resource.has_generation() {
        return;
    }
    let content = |v: &Value| -> Vec<(String, Value)> {
        let rest = v.as_object().into_iter().flatten();
        let skip = |k: &str| k == "metadata" || k == "apiVersion" || (k == "status" && resource.has_status);
        let mut all: Vec<(String, Value)> =
            rest.filter(|(k, _)| !skip(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    if content(old) != content(new) {
        let next = object::int(old, "/metadata/generation").unwrap_or(0) + 1;
        meta_mut(new).insert("generation".into(), json!(next));
    }
}

/// Whether a terminating object has nothing left to wait for.
pub fn is_finished(resource: &Resource, value: &Value) -> bool {
    if !is_terminating(value) || !list(value, "/metadata/finalizers").is_empty() {
        return false;
    }
    if resource.is("", "namespaces") {
        return list(value, "/spec/finalizers").is_empty();
    }
    // A pod stays until its kubelet says that it has stopped.
    !resource.is("", "pods") || object::int(value, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
}

/// Whether deleting needs nobody's consent: nothing runs.
pub fn pod_is_idle(pod: &Value) -> bool {
    text(pod, "/spec/nodeName").is_empty() || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}
