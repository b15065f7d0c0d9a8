//! The scale sub-resource.

use super::write::{Outcome, update_with};
use super::{Answer, Call, read};
use crate::error::{ApiError, FieldError, Result};
use crate::object::{int, text};
use crate::patch::{self, Format};
use crate::registry::{Resource, ScalePaths};
use crate::selector::LabelSelector;
use bytes::Bytes;
use http::header;
use serde_json::{Value, json};

/// GET, PUT and PATCH of a Scale.
pub async fn handle(call: &Call, body: &Bytes) -> Result<Answer> {
    let paths = call.resource.scale.clone().ok_or_else(ApiError::no_such_path)?;
    let stored = call.core.store.get(&call.resource.storage, &call.key()).ok_or_else(|| call.not_found())?;
    let current = read::presented(&call.resource, &stored).into_owned();
    if call.verb == "get" {
        return Ok(Answer::ok(&scale(&call.resource, &paths, &current)));
    }
    let wanted: Value = serde_json::from_slice(body)
        .or_else(|_| yaml_serde::from_slice(body))
        .map_err(|e| ApiError::bad_request(format!("cannot decode the Scale: {e}")))?;
    let content_type =
        call.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // Go's clients leave a number of 0 out, so its absence says nothing.
    if call.verb == "update" && !(wanted.is_object() && matches!(text(&wanted, "/kind"), "" | "Scale")) {
        let message = "the body must be a Scale of apiVersion autoscaling/v1";
        return Err(ApiError::bad_request(message.to_owned()));
    }
    let format = (call.verb == "patch").then(|| Format::from_content_type(content_type)).transpose()?;
    let outcome = update_with(call, &|old| {
        let before = scale(&call.resource, &paths, old);
        let after = match format {
            None => wanted.clone(),
            Some(Format::Json) => patch::json(&before, &wanted)?,
            // A Scale has no lists: the other formats all merge.
            Some(_) => patch::merge(&before, &wanted)?,
        };
        Ok((with_replicas(call, &paths, old, &after)?, None))
    })
    .await?;
    let value = match outcome {
        Outcome::Stored(stored) => read::presented(&call.resource, &stored).into_owned(),
        Outcome::Value(value) => value,
    };
    Ok(Answer::ok(&scale(&call.resource, &paths, &value)))
}

fn with_replicas(call: &Call, paths: &ScalePaths, old: &Value, scale: &Value) -> Result<Value> {
    let replicas = int(scale, "/spec/replicas").unwrap_or(0);
    if replicas < 0 {
        let error =
            FieldError::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(ApiError::invalid("Scale", "autoscaling", &call.path.name, &[error]));
    }
    let mut new = old.clone();
    let mut at = &mut new;
    let (parents, field) = paths.spec.trim_start_matches('/').rsplit_once('/').unwrap_or(("", &paths.spec));
    for parent in parents.split('/').filter(|p| !p.is_empty()) {
        at = crate::object::as_map(at).entry(parent).or_insert_with(|| json!({}));
    }
    crate::object::as_map(at).insert(field.to_owned(), json!(replicas));
    let version = text(scale, "/metadata/resourceVersion");
    if !version.is_empty() {
        crate::object::meta_mut(&mut new).insert("resourceVersion".into(), json!(version));
    }
    Ok(new)
}

/// The Scale of an object.
fn scale(resource: &Resource, paths: &ScalePaths, value: &Value) -> Value {
    let meta = |field: &str| value.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
    let mut status = json!({"replicas": int(value, &paths.status).unwrap_or(0)});
    let selector = match value.pointer(&paths.selector).filter(|_| !paths.selector.is_empty()) {
        Some(Value::String(s)) => s.clone(),
        Some(object) if resource.plural == "replicationcontrollers" => {
            LabelSelector::from_object(Some(&json!({ "matchLabels": object }))).to_query()
        }
        Some(object) => LabelSelector::from_object(Some(object)).to_query(),
        None => String::new(),
    };
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta("name"), "namespace": meta("namespace"), "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"), "creationTimestamp": meta("creationTimestamp")},
        "spec": {"replicas": int(value, &paths.spec).unwrap_or(0)}, "status": status})
}
