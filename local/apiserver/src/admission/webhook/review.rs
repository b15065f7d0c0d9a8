//! The `AdmissionReview` that goes out, and what the one that comes back says.

use super::matching::{Subject, View};
use crate::error::{ApiError, Result};
use crate::object::{int, list, name, text};
use base64::Engine;
use http::StatusCode;
use serde_json::{Value, json};

/// What a webhook decided.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Whether the request may go on.
    pub allowed: bool,
    /// The JSON patch of a mutating webhook.
    pub patch: Option<Value>,
    /// For the user.
    pub warnings: Vec<String>,
    code: Option<u16>,
    reason: String,
    message: String,
}

/// The review of a request.
pub fn request(subject: &Subject<'_>, hook: &Value, view: &View) -> Result<Value> {
    let call = subject.call;
    let resource = &call.resource;
    let versions = list(hook, "/admissionReviewVersions");
    if !versions.is_empty() && !versions.iter().any(|v| v == "v1") {
        let text = format!("webhook {:?} does not accept AdmissionReview v1", text(hook, "/name"));
        return Err(ApiError::internal(text));
    }
    let kind = |version: &str| json!({"group": resource.group, "version": version, "kind": resource.kind});
    let of =
        |version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
    let old = subject.old.map(|o| view.object(o).into_owned());
    let own = match name(subject.object) {
        "" => call.path.name.as_str(),
        own => own,
    };
    let options = match subject.operation {
        "CREATE" => "CreateOptions",
        "UPDATE" => "UpdateOptions",
        _ => "DeleteOptions",
    };
    let mut request = json!({
        "uid": crate::object::new_uid(),
        "kind": kind(&view.version), "resource": of(&view.version),
        "requestKind": kind(&resource.version), "requestResource": of(&resource.version),
        "name": own, "operation": subject.operation, "userInfo": call.user.info(),
        "object": view.object(subject.object), "oldObject": old, "dryRun": call.dry_run()?,
        "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
    });
    if resource.namespaced {
        request["namespace"] = json!(call.path.namespace);
    }
    if !call.path.subresource.is_empty() {
        request["subResource"] = json!(call.path.subresource);
        request["requestSubResource"] = json!(call.path.subresource);
    }
    Ok(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}))
}

/// Reads the answer.
pub fn verdict(answer: &Value, uid: &str) -> std::result::Result<Verdict, String> {
    if text(answer, "/kind") != "AdmissionReview" {
        return Err("failed to call webhook: the answer is not an AdmissionReview".into());
    }
    let Some(response) = answer.get("response").filter(|r| r.is_object()) else {
        return Err("failed to call webhook: the AdmissionReview has no response".into());
    };
    if text(response, "/uid") != uid {
        return Err(format!(
            "failed to call webhook: expected response.uid={uid:?}, got {:?}",
            text(response, "/uid")
        ));
    }
    let Some(allowed) = response.get("allowed").and_then(Value::as_bool) else {
        return Err("failed to call webhook: response.allowed is missing".into());
    };
    Ok(Verdict {
        allowed,
        patch: patch(response)?,
        warnings: list(response, "/warnings").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        code: int(response, "/status/code").and_then(|c| u16::try_from(c).ok()),
        reason: text(response, "/status/reason").to_owned(),
        message: text(response, "/status/message").to_owned(),
    })
}

fn patch(response: &Value) -> std::result::Result<Option<Value>, String> {
    let encoded = text(response, "/patch");
    if encoded.is_empty() {
        return Ok(None);
    }
    if text(response, "/patchType") != "JSONPatch" {
        return Err("failed to call webhook: response.patchType must be JSONPatch".into());
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|e| format!("failed to call webhook: response.patch is not base64: {e}"))?;
    let patch: Value = serde_json::from_slice(&bytes)
        .map_err(|e| format!("failed to call webhook: response.patch is not a JSON patch: {e}"))?;
    Ok(patch.as_array().is_some_and(|p| !p.is_empty()).then_some(patch))
}

/// The error of a refusal.
pub fn refusal(hook: &str, verdict: &Verdict) -> ApiError {
    let code = verdict.code.and_then(|c| StatusCode::from_u16(c).ok()).filter(|c| !c.is_success());
    let code = code.unwrap_or(if verdict.message.is_empty() && verdict.reason.is_empty() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::FORBIDDEN
    });
    let text = match (verdict.message.as_str(), verdict.reason.as_str()) {
        ("", "") => format!("admission webhook {hook:?} denied the request without explanation"),
        ("", reason) => format!("admission webhook {hook:?} denied the request: {reason}"),
        (message, _) => format!("admission webhook {hook:?} denied the request: {message}"),
    };
    let reason = match code {
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::BAD_REQUEST => "BadRequest",
        _ => "",
    };
    ApiError::custom(code, reason, text)
}
