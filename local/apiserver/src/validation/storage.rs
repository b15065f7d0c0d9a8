//! Claims, volumes and their classes.

use super::pod::is_quantity;
use crate::error::FieldError;
use crate::object::{list, text};
use serde_json::{Value, json};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn modes(at: &str, spec: &Value, out: &mut Vec<FieldError>) {
    let modes = list(spec, "/accessModes");
    if modes.is_empty() {
        out.push(FieldError::required(format!("{at}.accessModes"), "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter(|mode| mode.as_str().is_none_or(|mode| !MODES.contains(&mode))) {
        out.push(FieldError::not_supported(format!("{at}.accessModes"), mode, MODES));
    }
}

fn size(at: String, size: Option<&Value>, out: &mut Vec<FieldError>) {
    match size {
        None => out.push(FieldError::required(at, "")),
        Some(Value::String(text)) if is_quantity(text) => {}
        Some(Value::Number(number)) if number.as_f64().is_some_and(|n| n > 0.0) => {}
        Some(other) => out.push(FieldError::invalid(at, other, "must be a quantity greater than zero")),
    }
}

/// The spec of a claim at a path.
pub fn claim(at: &str, spec: &Value, out: &mut Vec<FieldError>) {
    modes(at, spec, out);
    size(format!("{at}.resources[storage]"), spec.pointer("/resources/requests/storage"), out);
}

/// What of a claim does not change: nothing after its creation, but for the volume that it is bound to once.
pub fn fixed_fields(old: &Value) -> &'static [&'static str] {
    const FIXED: &[&str] = &[
        "/spec/accessModes",
        "/spec/resources",
        "/spec/selector",
        "/spec/storageClassName",
        "/spec/volumeMode",
        "/spec/volumeName",
    ];
    let bound = !text(old, "/spec/volumeName").is_empty();
    if bound { FIXED } else { &FIXED[..FIXED.len() - 1] }
}

/// The spec of a volume.
pub fn volume(spec: &Value, out: &mut Vec<FieldError>) {
    modes("spec", spec, out);
    size("spec.capacity[storage]".into(), spec.pointer("/capacity/storage"), out);
    let policy = text(spec, "/persistentVolumeReclaimPolicy");
    if !matches!(policy, "Retain" | "Delete" | "Recycle") {
        let known = ["Delete", "Recycle", "Retain"];
        out.push(FieldError::not_supported("spec.persistentVolumeReclaimPolicy", &json!(policy), &known));
    }
}

/// A class.
pub fn class(class: &Value, out: &mut Vec<FieldError>) {
    if text(class, "/provisioner").is_empty() {
        out.push(FieldError::required("provisioner", ""));
    }
}
