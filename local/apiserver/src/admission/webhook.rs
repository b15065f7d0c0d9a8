//! Admission webhooks: which ones a request concerns, asking them, and doing what they say.

mod matching;
mod post;
mod review;

pub use post::Client;

use crate::api::Call;
use crate::error::{ApiError, Result};
use crate::object::{int, list, text};
use futures_util::future::join_all;
use matching::Subject;
use review::Verdict;
use serde_json::Value;
use std::time::Duration;

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

/// All webhooks of a collection, in the order of their configurations' names.
fn hooks(call: &Call, storage: &str) -> Vec<Value> {
    // A broken webhook must not keep its own configuration from being mended.
    if call.resource.group == "admissionregistration.k8s.io" {
        return Vec::new();
    }
    let listing = call.core.store.list(storage, "").items;
    listing.iter().flat_map(|(_, stored)| list(&stored.value, "/webhooks").iter().cloned()).collect()
}

/// Runs the mutating webhooks one after the other; those that ask for it once more when later ones changed the object.
pub async fn mutate(
    call: &Call,
    operation: &'static str,
    value: Value,
    old: Option<&Value>,
) -> Result<Value> {
    let hooks = hooks(call, MUTATING);
    if hooks.is_empty() {
        return Ok(value);
    }
    let mut value = value;
    let mut seen: Vec<Option<Value>> = vec![None; hooks.len()];
    for (i, hook) in hooks.iter().enumerate() {
        let subject = Subject { call, operation, object: &value, old };
        if let Some(view) = matching::matches(&subject, hook)? {
            value = mutate_once(&subject, hook, view).await?;
            seen[i] = Some(value.clone());
        }
    }
    for (hook, seen) in hooks.iter().zip(seen) {
        let again = text(hook, "/reinvocationPolicy") == "IfNeeded" && seen.is_some_and(|s| s != value);
        let subject = Subject { call, operation, object: &value, old };
        if again && let Some(view) = matching::matches(&subject, hook)? {
            value = mutate_once(&subject, hook, view).await?;
        }
    }
    Ok(value)
}

async fn mutate_once(subject: &Subject<'_>, hook: &Value, view: matching::View) -> Result<Value> {
    let Some(verdict) = ask(subject, hook, &view).await? else { return Ok(subject.object.clone()) };
    let allowed = admit(subject.call, hook, &verdict)?;
    let Some(patch) = allowed.patch.as_ref() else { return Ok(subject.object.clone()) };
    if subject.operation == "DELETE" {
        let name = text(hook, "/name");
        return Err(ApiError::internal(format!(
            "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
        )));
    }
    let broken = |e: String| {
        ApiError::internal(format!(
            "failed calling webhook {:?}: the webhook's patch cannot be applied: {e}",
            text(hook, "/name")
        ))
    };
    let shown = view.object(subject.object);
    let mut new = crate::patch::json(&shown, patch).map_err(|e| broken(e.message))?;
    // The object goes on in the version of the request.
    crate::object::as_map(&mut new).insert("apiVersion".into(), subject.call.resource.api_version().into());
    Ok(new)
}

/// Runs the validating webhooks side by side.
pub async fn validate(
    call: &Call,
    operation: &'static str,
    value: &Value,
    old: Option<&Value>,
) -> Result<()> {
    let hooks = hooks(call, VALIDATING);
    let subject = Subject { call, operation, object: value, old };
    let mut asked = Vec::new();
    for hook in &hooks {
        if let Some(view) = matching::matches(&subject, hook)? {
            asked.push((hook, view));
        }
    }
    let answers = join_all(asked.iter().map(|(hook, view)| ask(&subject, hook, view))).await;
    for ((hook, _), answer) in asked.iter().zip(answers) {
        if let Some(verdict) = answer? {
            admit(call, hook, &verdict)?;
        }
    }
    Ok(())
}

/// Asks one webhook; `None` when it failed and its failure is to be ignored.
async fn ask(subject: &Subject<'_>, hook: &Value, view: &matching::View) -> Result<Option<Verdict>> {
    let name = text(hook, "/name");
    if subject.call.dry_run()? && !matches!(text(hook, "/sideEffects"), "None" | "NoneOnDryRun") {
        return Err(ApiError::bad_request(format!("admission webhook {name:?} does not support dry run")));
    }
    let seconds = int(hook, "/timeoutSeconds").and_then(|s| u64::try_from(s).ok()).unwrap_or(10).clamp(1, 30);
    let request = review::request(subject, hook, view)?;
    let uid = text(&request, "/request/uid").to_owned();
    let answer = post::post(&subject.call.core, hook, &request, Duration::from_secs(seconds)).await;
    let verdict = answer.map_err(|e| e.to_string()).and_then(|value| review::verdict(&value, &uid));
    match verdict {
        Ok(verdict) => Ok(Some(verdict)),
        Err(error) if text(hook, "/failurePolicy") == "Ignore" => {
            tracing::warn!(webhook = name, %error, "calling a webhook failed; it is ignored as its failurePolicy says");
            Ok(None)
        }
        Err(error) => Err(ApiError::internal(format!("failed calling webhook {name:?}: {error}"))),
    }
}

/// Passes warnings on and turns a refusal into an error.
fn admit<'a>(call: &Call, hook: &Value, verdict: &'a Verdict) -> Result<&'a Verdict> {
    verdict.warnings.iter().for_each(|w| call.warn(w.clone()));
    if verdict.allowed { Ok(verdict) } else { Err(review::refusal(text(hook, "/name"), verdict)) }
}
