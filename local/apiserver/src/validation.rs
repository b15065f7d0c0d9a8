//! Validation of objects, in the words of the real server.

mod names;
mod pod;
mod service;
mod storage;
mod workload;

use crate::error::FieldError;
use crate::object::{self, list, map, name, text};
use crate::registry::{Custom, Resource};
use crate::schema::structural;
use serde_json::Value;

const RULES_NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the \
                                 existing errors to complete validation";

/// Everything that is wrong with an object; `old` is the object it replaces.
pub fn validate(resource: &Resource, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut out = Vec::new();
    names::metadata(resource, value, &mut out);
    match &resource.custom {
        Some(custom) => custom_resource(resource, custom, value, old, &mut out),
        None => builtin(resource, value, old, &mut out),
    }
    if let Some(old) = old {
        immutable(resource, value, old, &mut out);
    }
    out
}

fn custom_resource(
    resource: &Resource,
    custom: &Custom,
    value: &Value,
    old: Option<&Value>,
    out: &mut Vec<FieldError>,
) {
    out.extend(structural::validate(resource.schema.node(), value));
    let Some(rules) = &custom.rules else { return };
    if out.iter().any(FieldError::hinders_rules) {
        return out.push(FieldError::invalid("<nil>", &Value::Null, RULES_NOT_CHECKED));
    }
    let Err(errors) = kube_cel::validate_compiled(rules, value, old) else { return };
    out.extend(errors.into_vec().into_iter().map(|e| {
        let field = e.field_path.trim_start_matches('.').to_owned();
        let field = if field.is_empty() { "<nil>".to_owned() } else { field };
        let kind =
            value.pointer(&format!("/{}", e.field_path.trim_start_matches('.').replace('.', "/"))).cloned();
        let shown = kind.filter(|v| !v.is_object() && !v.is_array()).unwrap_or_else(|| Value::from("object"));
        match e.reason.as_deref() {
            Some("FieldValueForbidden") => FieldError::forbidden(field, &e.message),
            Some("FieldValueRequired") => FieldError::required(field, &e.message),
            Some("FieldValueDuplicate") => FieldError::duplicate(field, &shown),
            _ => FieldError::invalid(field, &shown, e.message),
        }
    }));
}

fn builtin(resource: &Resource, value: &Value, old: Option<&Value>, out: &mut Vec<FieldError>) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod::pod(value, old, out),
        ("", "services") => service::service(value, old, out),
        ("", "configmaps" | "secrets") => data(value, out),
        ("", "persistentvolumeclaims") => storage::claim("spec", &value["spec"], out),
        ("", "persistentvolumes") => storage::volume(&value["spec"], out),
        ("storage.k8s.io", _) => storage::class(value, out),
        ("apps" | "batch", _) | ("", "replicationcontrollers") => workload::validate(resource, value, out),
        ("apiextensions.k8s.io", _) => out.extend(crate::crd::validate(value)),
        ("admissionregistration.k8s.io", _) => webhooks(value, out),
        ("discovery.k8s.io", _) => service::slice(value, out),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(value, out),
        ("networking.k8s.io", "ingresses") => ingress(value, out),
        ("autoscaling", _) => autoscaler(value, out),
        _ => {}
    }
}

/// What an update may not change.
fn immutable(resource: &Resource, new: &Value, old: &Value, out: &mut Vec<FieldError>) {
    let fields: &[&str] = match (resource.group.as_str(), resource.plural.as_str()) {
        ("apps", "deployments" | "replicasets" | "daemonsets") => &["/spec/selector"],
        ("apps", "statefulsets") => &[
            "/spec/selector",
            "/spec/serviceName",
            "/spec/podManagementPolicy",
            "/spec/volumeClaimTemplates",
        ],
        ("", "persistentvolumeclaims") => storage::fixed_fields(old),
        ("", "persistentvolumes") => &["/spec/hostPath", "/spec/local", "/spec/volumeMode"],
        ("batch", "jobs") => &["/spec/selector", "/spec/completions", "/spec/completionMode"],
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => &["/roleRef"],
        ("discovery.k8s.io", _) => &["/addressType"],
        ("apiextensions.k8s.io", _) => {
            &["/spec/group", "/spec/scope", "/spec/names/plural", "/spec/names/kind"]
        }
        ("storage.k8s.io", _) => &["/provisioner", "/parameters"],
        ("scheduling.k8s.io", _) => &["/value"],
        ("", "secrets") => &["/type"],
        _ => &[],
    };
    for field in fields {
        if new.pointer(field) != old.pointer(field) {
            let shown = new.pointer(field).cloned().unwrap_or_default();
            let path = field.trim_start_matches('/').replace('/', ".");
            let detail = if *field == "/roleRef" { "cannot change roleRef" } else { "field is immutable" };
            out.push(FieldError::invalid(path, &shown, detail));
        }
    }
    if resource.is("batch", "jobs") && new.pointer("/spec/template") != old.pointer("/spec/template") {
        out.push(FieldError::invalid("spec.template", &Value::from("object"), "field is immutable"));
    }
    let kept = matches!(resource.plural.as_str(), "configmaps" | "secrets")
        && old.get("immutable") == Some(&Value::Bool(true));
    for field in ["data", "binaryData"] {
        if kept && new.get(field) != old.get(field) {
            out.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

fn data(value: &Value, out: &mut Vec<FieldError>) {
    let mut size = 0;
    for (field, encoded) in [("data", text(value, "/kind") == "Secret"), ("binaryData", true)] {
        for (key, content) in map(value, &format!("/{field}")).into_iter().flatten() {
            let at = format!("{field}[{key}]");
            if key.is_empty()
                || key.len() > 253
                || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                out.push(FieldError::invalid(at.as_str(), &Value::from(key.as_str()), detail));
            }
            let content = content.as_str().unwrap_or_default();
            size += content.len();
            if encoded && !is_base64(content) {
                out.push(FieldError::invalid(at, &Value::from("..."), "must be base64"));
            }
        }
    }
    if size > 1024 * 1024 {
        out.push(FieldError::too_long("data", 1024 * 1024));
    }
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    let clean: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(clean).is_ok()
}

fn webhooks(value: &Value, out: &mut Vec<FieldError>) {
    for (i, hook) in list(value, "/webhooks").iter().enumerate() {
        let at = |field: &str| format!("webhooks[{i}].{field}");
        if text(hook, "/name").split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            out.push(FieldError::invalid(at("name"), &Value::from(text(hook, "/name")), detail));
        }
        let effects = text(hook, "/sideEffects");
        if !matches!(effects, "None" | "NoneOnDryRun") {
            out.push(FieldError::not_supported(
                at("sideEffects"),
                &Value::from(effects),
                &["None", "NoneOnDryRun"],
            ));
        }
        let versions = list(hook, "/admissionReviewVersions");
        if versions.is_empty() {
            out.push(FieldError::required(at("admissionReviewVersions"), "must specify one of v1, v1beta1"));
        }
        let seconds = object::int(hook, "/timeoutSeconds").unwrap_or(10);
        if !(1..=30).contains(&seconds) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            out.push(FieldError::invalid(at("timeoutSeconds"), &Value::from(seconds), detail));
        }
        let (url, service) = (hook.pointer("/clientConfig/url"), hook.pointer("/clientConfig/service"));
        if url.is_some() == service.is_some() {
            out.push(FieldError::required(at("clientConfig"), "exactly one of url or service is required"));
        }
    }
}

fn binding(value: &Value, out: &mut Vec<FieldError>) {
    let kind = text(value, "/roleRef/kind");
    if !matches!(kind, "Role" | "ClusterRole") {
        out.push(FieldError::not_supported("roleRef.kind", &Value::from(kind), &["Role", "ClusterRole"]));
    }
    if text(value, "/roleRef/name").is_empty() {
        out.push(FieldError::required("roleRef.name", ""));
    }
}

fn ingress(value: &Value, out: &mut Vec<FieldError>) {
    if value.pointer("/spec/defaultBackend").is_none() && list(value, "/spec/rules").is_empty() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        out.push(FieldError::invalid("spec", &Value::from("object"), detail));
    }
}

fn autoscaler(value: &Value, out: &mut Vec<FieldError>) {
    let (min, max) = (
        object::int(value, "/spec/minReplicas").unwrap_or(1),
        object::int(value, "/spec/maxReplicas").unwrap_or(0),
    );
    if max < 1 {
        out.push(FieldError::invalid("spec.maxReplicas", &Value::from(max), "must be greater than 0"));
    } else if max < min {
        let detail = "must be greater than or equal to `minReplicas`";
        out.push(FieldError::invalid("spec.maxReplicas", &Value::from(max), detail));
    }
    if name(value).is_empty() {
        out.push(FieldError::required("metadata.name", ""));
    }
}

#[cfg(test)]
mod tests;
