//! Whether a webhook wants to see a request.

use crate::api::Call;
use crate::error::{ApiError, Result};
use crate::object::{list, namespace, text};
use crate::selector::LabelSelector;
use kube_cel::KubeCelExt;
use kube_cel::cel::{self, Context, Program};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A request as admission sees it.
pub struct Subject<'a> {
    /// The API call.
    pub call: &'a Call,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: &'static str,
    /// The object; null when it is deleted.
    pub object: &'a Value,
    /// The object before.
    pub old: Option<&'a Value>,
}

/// The version in which a webhook sees the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The version.
    pub version: String,
    /// `group/version`, when it differs from the request's.
    api_version: Option<String>,
}

impl View {
    /// An object in this view.
    pub fn object<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        match &self.api_version {
            Some(api_version) if value.is_object() => {
                let mut value = value.clone();
                value["apiVersion"] = json!(api_version);
                Cow::Owned(value)
            }
            _ => Cow::Borrowed(value),
        }
    }
}

/// How the webhook sees the request, if it wants to.
pub fn matches(subject: &Subject<'_>, hook: &Value) -> Result<Option<View>> {
    let Some(view) = view(subject, hook) else { return Ok(None) };
    let wanted = namespace_matches(subject, hook)?
        && object_matches(subject, hook)
        && conditions_hold(subject, hook, &view)?;
    Ok(wanted.then_some(view))
}

fn view(subject: &Subject<'_>, hook: &Value) -> Option<View> {
    let resource = &subject.call.resource;
    let rules = list(hook, "/rules");
    let any = |version: &str| rules.iter().any(|r| rule_matches(subject, r, version));
    if any(&resource.version) {
        return Some(View { version: resource.version.clone(), api_version: None });
    }
    if text(hook, "/matchPolicy") == "Exact" || resource.custom.is_none() {
        return None;
    }
    let registry = subject.call.core.registry.load();
    let group = registry.groups().iter().find(|g| g.name == resource.group)?;
    let mut served =
        group.versions.iter().filter(|v| registry.find(&resource.group, v, &resource.plural).is_some());
    let version = served.find(|v| any(v))?.clone();
    let api_version = Some(format!("{}/{version}", resource.group));
    Some(View { version, api_version })
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    list(rule, field).iter().any(|v| v == "*" || v == wanted)
}

fn rule_matches(subject: &Subject<'_>, rule: &Value, version: &str) -> bool {
    let resource = &subject.call.resource;
    let sub = subject.call.path.subresource.as_str();
    let wants = |pattern: &str| {
        let (plural, wanted_sub) = pattern.split_once('/').unwrap_or((pattern, ""));
        (plural == "*" || plural == resource.plural) && (wanted_sub == sub || (wanted_sub == "*"))
    };
    let scope = match text(rule, "/scope") {
        "Cluster" => !resource.namespaced,
        "Namespaced" => resource.namespaced,
        _ => true,
    };
    has(rule, "/operations", subject.operation)
        && has(rule, "/apiGroups", &resource.group)
        && has(rule, "/apiVersions", version)
        && list(rule, "/resources").iter().filter_map(Value::as_str).any(wants)
        && scope
}

fn namespace_matches(subject: &Subject<'_>, hook: &Value) -> Result<bool> {
    let selector = LabelSelector::from_object(hook.get("namespaceSelector"));
    let call = subject.call;
    if selector.0.is_empty() {
        return Ok(true);
    }
    if call.resource.is("", "namespaces") {
        let value = if subject.object.is_object() { Some(subject.object) } else { subject.old };
        return Ok(value.is_none_or(|v| selector.matches(v)));
    }
    if !call.resource.namespaced {
        return Ok(true);
    }
    let name = match namespace(subject.object) {
        "" => call.path.namespace.as_str(),
        name => name,
    };
    let stored =
        call.core.store.get("/namespaces", name).ok_or_else(|| ApiError::not_found("namespaces", name))?;
    Ok(selector.matches(&stored.value))
}

fn object_matches(subject: &Subject<'_>, hook: &Value) -> bool {
    let selector = LabelSelector::from_object(hook.get("objectSelector"));
    let new = subject.object.is_object().then_some(subject.object);
    selector.0.is_empty() || new.into_iter().chain(subject.old).any(|v| selector.matches(v))
}

/// `matchConditions`: all must be true; one that is false means the webhook does not care, even if another fails.
fn conditions_hold(subject: &Subject<'_>, hook: &Value, view: &View) -> Result<bool> {
    let conditions = list(hook, "/matchConditions");
    if conditions.is_empty() {
        return Ok(true);
    }
    let mut context = Context::default().with_all();
    let request = super::review::request(subject, hook, view)?;
    for (name, value) in [
        ("object", request.pointer("/request/object")),
        ("oldObject", request.pointer("/request/oldObject")),
        ("request", request.get("request")),
    ] {
        let value =
            cel::to_value(value.unwrap_or(&Value::Null)).map_err(|e| ApiError::internal(e.to_string()))?;
        context.add_variable_from_value(name, value);
    }
    let mut failure = None;
    for condition in conditions {
        match evaluate(text(condition, "/expression"), &context) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => failure = Some(format!("matchCondition {:?}: {error}", text(condition, "/name"))),
        }
    }
    match failure {
        None => Ok(true),
        Some(_) if text(hook, "/failurePolicy") == "Ignore" => Ok(false),
        Some(error) => {
            Err(ApiError::internal(format!("failed calling webhook {:?}: {error}", text(hook, "/name"))))
        }
    }
}

fn evaluate(expression: &str, context: &Context<'_>) -> std::result::Result<bool, String> {
    let program = Program::compile(expression).map_err(|e| e.to_string())?;
    match program.execute(context).map_err(|e| e.to_string())? {
        cel::Value::Bool(value) => Ok(value),
        other => Err(format!("the expression must be a bool, not {other:?}")),
    }
}
