//! `update` and `patch`, and the one way an object changes.

use super::{Outcome, after_write, answer, book_fields, check_valid, create_value, decode};
use crate::api::{Answer, Call, read};
use crate::auth::escalation;
use crate::error::{ApiError, Result};
use crate::object::{self, name, text};
use crate::patch::{self, Format};
use crate::store::{Store, StoreError, Stored};
use crate::{admission, apply, defaults, services, strategy};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::Value;

/// How often a patch is tried again when others write the same object.
const RETRIES: usize = 16;

/// PUT of one object (or of its status).
pub async fn replace(call: &Call, body: &Bytes) -> Result<Answer> {
    let wanted = decode::decode(call, body)?;
    let own = name(&wanted);
    if !own.is_empty() && own != call.path.name {
        let text =
            format!("the name of the object ({own}) does not match the name on the URL ({})", call.path.name);
        return Err(ApiError::bad_request(text));
    }
    let exists = call.core.store.get(&call.resource.storage, &call.key()).is_some();
    if !exists && call.resource.is("coordination.k8s.io", "leases") {
        call.may_create()?;
        let outcome = create_value(call, wanted, None).await?;
        return answer(call, StatusCode::CREATED, outcome);
    }
    let outcome = update_with(call, &|_| Ok((wanted.clone(), None))).await?;
    answer(call, StatusCode::OK, outcome)
}

/// PATCH of one object (or of its status).
pub async fn patch(call: &Call, body: &Bytes) -> Result<Answer> {
    let content_type =
        call.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let format = Format::from_content_type(content_type)?;
    if format == Format::Strategic && call.resource.custom.is_some() {
        return Err(ApiError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    if format == Format::Apply {
        return apply_patch(call, body).await;
    }
    let patch: Value = serde_json::from_slice(body)
        .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
    let outcome = update_with(call, &|old| {
        let patched = match format {
            Format::Json => patch::json(old, &patch),
            Format::Merge => patch::merge(old, &patch),
            _ => patch::strategic(call.resource.schema.node(), old, &patch),
        };
        Ok((decode::checked(call, patched?)?, None))
    })
    .await?;
    answer(call, StatusCode::OK, outcome)
}

async fn apply_patch(call: &Call, body: &Bytes) -> Result<Answer> {
    let config = apply::config(call, body)?;
    let exists = call.core.store.get(&call.resource.storage, &call.key()).is_some();
    if !exists {
        if !call.path.subresource.is_empty() {
            return Err(call.not_found());
        }
        call.may_create()?;
        let (value, managed) = apply::apply(call, None, &config)?;
        let outcome = create_value(call, decode::checked(call, value)?, Some(managed)).await?;
        return answer(call, StatusCode::CREATED, outcome);
    }
    let outcome = update_with(call, &|old| {
        let (value, managed) = apply::apply(call, Some(old), &config)?;
        Ok((decode::checked(call, value)?, Some(managed)))
    })
    .await?;
    answer(call, StatusCode::OK, outcome)
}

/// Makes the new object (and what apply booked) from the stored one.
pub type Change<'a> = &'a (dyn Fn(&Value) -> Result<(Value, Option<Value>)> + Send + Sync);

/// Reads, changes and stores an object; starts over when another write comes between and the change names no version.
pub async fn update_with(call: &Call, change: Change<'_>) -> Result<Outcome> {
    for _ in 0..RETRIES {
        let stored =
            call.core.store.get(&call.resource.storage, &call.key()).ok_or_else(|| call.not_found())?;
        let old = read::presented(&call.resource, &stored).into_owned();
        let (new, applied) = change(&old)?;
        let version = text(&new, "/metadata/resourceVersion").to_owned();
        let pinned = !version.is_empty() && version != "0";
        if pinned && version != stored.version.to_string() {
            return Err(ApiError::stale(&call.resource.qualified(), &call.path.name));
        }
        match update_once(call, &stored, &old, new, applied).await {
            // A patch carries the version it read, which says nothing; a PUT with a version has been compared above.
            Err(UpdateError::Stale) => continue,
            Err(UpdateError::Api(error)) => return Err(error),
            Ok(outcome) => return Ok(outcome),
        }
    }
    Err(ApiError::stale(&call.resource.qualified(), &call.path.name))
}

enum UpdateError {
    Stale,
    Api(ApiError),
}

impl From<ApiError> for UpdateError {
    fn from(error: ApiError) -> Self {
        UpdateError::Api(error)
    }
}

async fn update_once(
    call: &Call,
    stored: &Stored,
    old: &Value,
    mut new: Value,
    applied: Option<Value>,
) -> Result<Outcome, UpdateError> {
    let resource = &call.resource;
    let qualified = resource.qualified();
    if !text(&new, "/metadata/uid").is_empty() && object::uid(&new) != object::uid(old) {
        let text = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            object::uid(&new),
            object::uid(old)
        );
        return Err(ApiError::conflict(&qualified, &call.path.name, text).into());
    }
    let sub = call.path.subresource.as_str();
    strategy::prepare_update(resource, sub, old, &mut new);
    defaults::apply(resource, &mut new);
    admission::builtin_mutate(call, &mut new, Some(old))?;
    let mut new = admission::mutate(call, "UPDATE", new, Some(old)).await?;
    strategy::prepare_update(resource, sub, old, &mut new);
    defaults::apply(resource, &mut new);
    escalation::check(call, &new, Some(old))?;
    check_valid(resource, &new, Some(old))?;
    admission::validate(call, "UPDATE", &new, Some(old)).await?;
    book_fields(call, &mut new, Some(old), applied);
    strategy::bump_generation(resource, old, &mut new);
    if call.dry_run()? {
        return Ok(Outcome::Value(new));
    }
    let _guard = services::reserve(&call.core, resource, &mut new, Some(old)).await?;
    let store: &Store = &call.core.store;
    let key = call.key();
    let to_store = resource.to_storage(new);
    let result = if strategy::is_finished(resource, &to_store) {
        // The last finalizer is gone: so is the object.
        store.delete(&resource.storage, &key, stored.version).await
    } else {
        store.update(&resource.storage, &key, stored.version, to_store).await
    };
    match result {
        Ok(stored) => {
            after_write(call);
            Ok(Outcome::Stored(stored))
        }
        Err(StoreError::Stale) => Err(UpdateError::Stale),
        Err(StoreError::Missing) => Err(call.not_found().into()),
        Err(error) => Err(ApiError::internal(error).into()),
    }
}

/// `pods/binding`: the scheduler's word on which node a pod runs.
pub async fn bind(call: &Call, body: &Bytes) -> Result<Answer> {
    let binding = decode::plain(&call.headers, body)?;
    let node = text(&binding, "/target/name").to_owned();
    if node.is_empty() {
        let error = crate::error::FieldError::required("target.name", "");
        return Err(ApiError::invalid("Binding", "", &call.path.name, &[error]));
    }
    update_with(call, &|old| {
        let assigned = text(old, "/spec/nodeName");
        if !assigned.is_empty() {
            let text = format!("pod {} is already assigned to node {assigned:?}", call.path.name);
            return Err(ApiError::conflict("pods/binding", &call.path.name, text));
        }
        if object::is_terminating(old) {
            let text = format!("pod {} is being deleted, cannot be assigned to a host", call.path.name);
            return Err(ApiError::conflict("pods/binding", &call.path.name, text));
        }
        let mut new = old.clone();
        // The one that was looked at, and no other of its name.
        if !object::uid(&binding).is_empty() {
            object::meta_mut(&mut new).insert("uid".into(), object::uid(&binding).into());
        }
        object::child(&mut new, "spec").insert("nodeName".into(), node.clone().into());
        let conditions = object::child(&mut new, "status").entry("conditions").or_insert_with(|| Value::Array(vec![]));
        if let Some(all) = conditions.as_array_mut() {
            all.retain(|c| text(c, "/type") != "PodScheduled");
            all.push(serde_json::json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": object::now()}));
        }
        Ok((new, None))
    })
    .await?;
    Ok(Answer::json(
        StatusCode::CREATED,
        &serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}
