//! CustomResourceDefinitions at work: what they define is served as soon as they are stored.

use crate::error::FieldError;
use crate::object::{self, list, name, text};
use crate::registry::{Registry, custom};
use crate::server::Core;
use serde_json::{Value, json};
use std::sync::Arc;

/// Keeps a CRD until its objects are deleted.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Builds the registry from the stored CRDs; to be called whenever one was written or has gone.
pub fn load(core: &Core) {
    let mut registry = Registry::builtin();
    for (_, stored) in core.store.list(STORAGE, "").items {
        for resource in custom::resources(&stored.value) {
            registry.add(resource);
        }
    }
    core.registry.store(Arc::new(registry));
    core.openapi.forget();
}

/// Defaults of a CRD, and its status: names are accepted at once, as nobody competes for them here.
pub fn complete(crd: &mut Value) {
    let names = custom::accepted_names(crd);
    let spec = object::child(crd, "spec");
    spec.insert("names".into(), names.clone());
    object::default(spec, "conversion", json!({"strategy": "None"}));
    let storage: Vec<Value> = list(crd, "/spec/versions")
        .iter()
        .filter(|v| v["storage"] == json!(true))
        .filter_map(|v| v.get("name").cloned())
        .collect();
    let since = list(crd, "/status/conditions").first().map(|c| text(c, "/lastTransitionTime").to_owned());
    let since = since.filter(|s| !s.is_empty()).unwrap_or_else(object::now);
    let condition = |kind: &str, reason: &str, message: &str| json!({"lastTransitionTime": since, "message": message, "reason": reason, "status": "True", "type": kind});
    let status = json!({
        "acceptedNames": names, "storedVersions": storage,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
    object::as_map(crd).insert("status".into(), status);
}

/// What is wrong with a CRD.
pub fn validate(crd: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    let (group, plural) = (text(crd, "/spec/group"), text(crd, "/spec/names/plural"));
    for (field, value) in [
        ("spec.group", group),
        ("spec.names.plural", plural),
        ("spec.names.kind", text(crd, "/spec/names/kind")),
    ] {
        if value.is_empty() {
            out.push(FieldError::required(field, ""));
        }
    }
    if name(crd) != format!("{plural}.{group}") {
        out.push(FieldError::invalid(
            "metadata.name",
            &json!(name(crd)),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let scope = text(crd, "/spec/scope");
    if !matches!(scope, "Cluster" | "Namespaced") {
        out.push(FieldError::not_supported("spec.scope", &json!(scope), &["Cluster", "Namespaced"]));
    }
    let versions = list(crd, "/spec/versions");
    if versions.is_empty() {
        out.push(FieldError::required("spec.versions", "must have at least one version"));
    }
    if !versions.is_empty() && versions.iter().filter(|v| v["storage"] == json!(true)).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        out.push(FieldError::invalid("spec.versions", &crd["spec"]["versions"], detail));
    }
    if text(crd, "/spec/conversion/strategy") == "Webhook" {
        out.push(FieldError::forbidden(
            "spec.conversion.strategy",
            "the local API server converts between versions only by strategy None",
        ));
    }
    for (i, version) in versions.iter().enumerate() {
        validate_version(&format!("spec.versions[{i}]"), version, &mut out);
    }
    out
}

fn validate_version(at: &str, version: &Value, out: &mut Vec<FieldError>) {
    if text(version, "/name").is_empty() {
        out.push(FieldError::required(format!("{at}.name"), ""));
    }
    let schema = version.pointer("/schema/openAPIV3Schema").filter(|s| s.is_object());
    let Some(schema) = schema else {
        out.push(FieldError::required(format!("{at}.schema.openAPIV3Schema"), "schemas are required"));
        return;
    };
    let root = format!("{at}.schema.openAPIV3Schema");
    if text(schema, "/type") != "object" {
        out.push(FieldError::invalid(
            format!("{root}.type"),
            &json!(text(schema, "/type")),
            "must be object at the root",
        ));
    }
    structural(&root, schema, 0, out);
}

/// Structural schemas name a type everywhere.
fn structural(at: &str, schema: &Value, depth: usize, out: &mut Vec<FieldError>) {
    let flag = |key: &str| schema.get(key) == Some(&json!(true));
    if depth > 64 {
        out.push(FieldError::invalid(at, &json!(""), "must not be nested deeper than 64 levels"));
        return;
    }
    let typed = !text(schema, "/type").is_empty();
    if !typed && !flag("x-kubernetes-int-or-string") && !flag("x-kubernetes-preserve-unknown-fields") {
        out.push(FieldError::required(format!("{at}.type"), "must not be empty for specified object fields"));
    }
    rules(at, schema, out);
    for (key, value) in object::map(schema, "/properties").into_iter().flatten() {
        structural(&format!("{at}.properties[{key}]"), value, depth + 1, out);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = schema.get(key).filter(|v| v.is_object()) {
            structural(&format!("{at}.{key}"), value, depth + 1, out);
        }
    }
}

/// CEL rules must at least parse: one that does not would refuse every object.
fn rules(at: &str, schema: &Value, out: &mut Vec<FieldError>) {
    for (i, rule) in list(schema, "/x-kubernetes-validations").iter().enumerate() {
        let at = format!("{at}.x-kubernetes-validations[{i}]");
        for key in ["rule", "messageExpression"] {
            let expression = text(rule, &format!("/{key}"));
            if expression.trim().is_empty() {
                if key == "rule" {
                    out.push(FieldError::required(format!("{at}.rule"), "rule is not specified"));
                }
            } else if let Err(error) = kube_cel::cel::Program::compile(expression) {
                let detail = format!("compilation failed: {error}");
                out.push(FieldError::invalid(format!("{at}.{key}"), &json!(expression), detail));
            }
        }
    }
}
