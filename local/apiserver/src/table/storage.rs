//! Columns of claims, volumes and their classes.

use super::Printer;
use super::format::age;
use crate::admission::builtin::DEFAULT_CLASS;
use crate::object::{list, map, name, str_of, text};
use serde_json::{Value, json};

/// The printer of a resource, if it is here.
pub fn printer(group: &str, plural: &str) -> Option<Printer> {
    let printer = |columns, cells| Some(Printer { columns, cells });
    match (group, plural) {
        ("", "persistentvolumeclaims") => printer(CLAIM, claim),
        ("", "persistentvolumes") => printer(VOLUME, volume),
        ("storage.k8s.io", _) => printer(
            &["Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"],
            class,
        ),
        _ => None,
    }
}

/// The name of a class as it is shown: the default one says so.
pub fn class_name(class: &Value) -> String {
    let notes = map(class, "/metadata/annotations");
    let default = notes.is_some_and(|notes| str_of(notes, DEFAULT_CLASS) == "true");
    format!("{}{}", name(class), if default { " (default)" } else { "" })
}

fn class(class: &Value) -> Vec<Value> {
    let expands = class["allowVolumeExpansion"] == json!(true);
    let t = |p: &str| json!(text(class, p));
    vec![t("/provisioner"), t("/reclaimPolicy"), t("/volumeBindingMode"), json!(expands), age(class)]
}

const CLAIM: &[&str] = &[
    "Name",
    "Status",
    "Volume",
    "Capacity",
    "Access Modes",
    "StorageClass",
    "VolumeAttributesClass",
    "Age",
    "+VolumeMode",
];

fn claim(claim: &Value) -> Vec<Value> {
    vec![
        json!(status(claim)),
        json!(text(claim, "/spec/volumeName")),
        json!(text(claim, "/status/capacity/storage")),
        json!(modes(claim, "/status/accessModes")),
        json!(text(claim, "/spec/storageClassName")),
        unset(claim, "/spec/volumeAttributesClassName"),
        age(claim),
        unset(claim, "/spec/volumeMode"),
    ]
}

const VOLUME: &[&str] = &[
    "Name",
    "Capacity",
    "Access Modes",
    "Reclaim Policy",
    "Status",
    "Claim",
    "StorageClass",
    "VolumeAttributesClass",
    "Reason",
    "Age",
    "+VolumeMode",
];

fn volume(volume: &Value) -> Vec<Value> {
    let claim = match text(volume, "/spec/claimRef/name") {
        "" => String::new(),
        name => format!("{}/{name}", text(volume, "/spec/claimRef/namespace")),
    };
    vec![
        json!(text(volume, "/spec/capacity/storage")),
        json!(modes(volume, "/spec/accessModes")),
        json!(text(volume, "/spec/persistentVolumeReclaimPolicy")),
        json!(status(volume)),
        json!(claim),
        json!(text(volume, "/spec/storageClassName")),
        unset(volume, "/spec/volumeAttributesClassName"),
        json!(text(volume, "/status/reason")),
        age(volume),
        unset(volume, "/spec/volumeMode"),
    ]
}

fn status(object: &Value) -> &str {
    if crate::object::is_terminating(object) { "Terminating" } else { text(object, "/status/phase") }
}

fn unset(object: &Value, pointer: &str) -> Value {
    match text(object, pointer) {
        "" => json!("<unset>"),
        text => json!(text),
    }
}

fn modes(object: &Value, pointer: &str) -> String {
    let modes: Vec<&str> = list(object, pointer).iter().filter_map(Value::as_str).map(short_mode).collect();
    modes.join(",")
}

fn short_mode(mode: &str) -> &str {
    match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    }
}
