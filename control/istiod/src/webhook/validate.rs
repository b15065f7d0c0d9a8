//! `/validate`: refuses objects that could not be used.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Webhooks;
use super::review::{Request, Verdict};

pub async fn handle(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    match Request::read(&body) {
        Ok(request) => {
            let verdict = webhooks.validate(&request);
            request.answer(verdict).into_response()
        }
        Err(response) => {
            webhooks.metrics.validation_http_errors.inc();
            *response
        }
    }
}

impl Webhooks {
    fn validate(&self, request: &Request) -> Verdict {
        // Whatever is wrong with an object, it may go.
        if request.operation == "DELETE" || request.object.is_null() {
            return Verdict::default();
        }
        let (group, kind) = group_and_kind(&request.object);
        let labels = |reason: &str| {
            vec![("group", group.clone()), ("resource", kind.clone()), ("reason", reason.to_owned())]
        };
        let verdict = judge(&request.object);
        match &verdict.refusal {
            None => self.metrics.validations_passed.get_or_create(&labels("")[..2].to_vec()).inc(),
            Some(reason) => {
                tracing::info!(kind, reason, "object refused");
                self.metrics.validations_failed.get_or_create(&labels("invalid_resource")).inc()
            }
        };
        verdict
    }
}

/// The verdict over one object: every error at once, warnings for what works but not as it looks.
pub fn judge(object: &Value) -> Verdict {
    let parsed = match meltemi_config::parse::read(object) {
        Ok(parsed) => parsed,
        Err(errors) => return refuse(errors.iter().map(ToString::to_string)),
    };
    if !parsed.unknown.is_empty() {
        return refuse(parsed.unknown.iter().map(ToString::to_string));
    }
    let (errors, odd): (Vec<_>, Vec<_>) = meltemi_config::validate(&parsed.object)
        .into_iter()
        .partition(|found| found.severity == meltemi_config::Severity::Error);
    if !errors.is_empty() {
        return refuse(errors.iter().map(ToString::to_string));
    }
    let odd = odd.iter().map(ToString::to_string);
    let warnings = parsed.deprecated.iter().map(ToString::to_string).chain(odd);
    let gaps = meltemi_config::unsupported::object(&parsed.object);
    let warnings = warnings.chain(gaps.iter().map(ToString::to_string)).collect();
    Verdict { warnings, ..Verdict::default() }
}

fn refuse(errors: impl Iterator<Item = String>) -> Verdict {
    Verdict::refuse(format!("configuration is invalid: {}", errors.collect::<Vec<_>>().join("; ")))
}

fn group_and_kind(object: &Value) -> (String, String) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group.to_owned(), text("kind").to_ascii_lowercase())
}
