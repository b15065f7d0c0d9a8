//! `create`, `update` and `patch`: decoding, admission, validation, storing.

mod decode;

pub use decode::{decode, plain};

use super::{Answer, Call, read};
use crate::error::{ApiError, Result};
use crate::object::{self, meta_mut, name, namespace, text};
use crate::patch::{self, Format};
use crate::registry::Resource;
use crate::store::{Store, StoreError, Stored, key};
use crate::{admission, apply, defaults, services, strategy, validation};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::Value;
use std::sync::Arc;

/// How often a patch is tried again when others write the same object.
const RETRIES: usize = 16;

/// What a write led to.
pub enum Outcome {
    /// It is stored.
    Stored(Arc<Stored>),
    /// It was a dry run, or the object went away with the write (its last finalizer was removed).
    Value(Value),
}

/// POST to a collection.
pub async fn create(call: &Call, body: &Bytes) -> Result<Answer> {
    let value = decode(call, body)?;
    let outcome = create_value(call, value, None).await?;
    answer(call, StatusCode::CREATED, outcome)
}

fn answer(call: &Call, code: StatusCode, outcome: Outcome) -> Result<Answer> {
    match outcome {
        Outcome::Stored(stored) => read::object(call, code, &stored),
        Outcome::Value(value) => read::object_value(call, code, &value),
    }
}

/// The name that managed fields are booked under.
pub fn field_manager(call: &Call) -> String {
    let own = call.query.get("fieldManager");
    let agent = call.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("unknown");
    let name = if own.is_empty() { agent.split('/').next().unwrap_or("unknown") } else { own };
    name.chars().take(128).collect()
}

/// Creates an object; `applied` is what server-side apply booked, if it comes from there.
pub async fn create_value(call: &Call, mut value: Value, applied: Option<Value>) -> Result<Outcome> {
    let resource = &call.resource;
    set_identity(call, &mut value)?;
    let generated = generate_name(&mut value);
    namespace_accepts(call, &value)?;
    strategy::prepare_create(resource, &mut value);
    defaults::apply(resource, &mut value);
    admission::builtin_mutate(call, &mut value, None)?;
    let mut value = admission::mutate(call, "CREATE", value, None).await?;
    defaults::apply(resource, &mut value);
    admission::builtin_validate(call, &value)?;
    check_valid(resource, &value, None)?;
    admission::validate(call, "CREATE", &value, None).await?;
    book_fields(call, &mut value, None, applied);
    stamp(&mut value);
    if call.dry_run()? {
        let exists = call.core.store.get(&resource.storage, &object_key(&value)).is_some();
        return if exists { Err(exists_error(resource, &value)) } else { Ok(Outcome::Value(value)) };
    }
    store_new(call, value, generated).await
}

async fn store_new(call: &Call, mut value: Value, generated: bool) -> Result<Outcome> {
    let resource = &call.resource;
    for _ in 0..8 {
        let _guard = services::reserve(&call.core, resource, &mut value, None).await?;
        let stored = resource.to_storage(value.clone());
        match call.core.store.create(&resource.storage, &object_key(&value), stored).await {
            Ok(stored) => {
                after_write(call, &stored);
                return Ok(Outcome::Stored(stored));
            }
            Err(StoreError::Exists) if generated => {
                let next = format!("{}{}", text(&value, "/metadata/generateName"), object::name_suffix());
                meta_mut(&mut value).insert("name".into(), next.into());
            }
            Err(StoreError::Exists) => return Err(exists_error(resource, &value)),
            Err(error) => return Err(ApiError::internal(error)),
        }
    }
    Err(exists_error(resource, &value))
}

/// What must happen before the writer is answered: a CRD is served at once.
fn after_write(call: &Call, stored: &Stored) {
    if call.resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crate::crd::changed(&call.core, &stored.value);
    }
}

fn exists_error(resource: &Resource, value: &Value) -> ApiError {
    ApiError::already_exists(&resource.qualified(), name(value))
}

fn object_key(value: &Value) -> String {
    key(namespace(value), name(value))
}

/// Name and namespace of the path and of the body must agree; what only the server sets is cleared.
fn set_identity(call: &Call, value: &mut Value) -> Result<()> {
    let path = &call.path;
    if call.resource.namespaced && path.namespace.is_empty() && namespace(value).is_empty() {
        return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
    }
    let own = namespace(value).to_owned();
    if call.resource.namespaced {
        if !path.namespace.is_empty() && !own.is_empty() && own != path.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let wanted = if path.namespace.is_empty() { own } else { path.namespace.clone() };
        meta_mut(value).insert("namespace".into(), wanted.into());
    } else if !own.is_empty() {
        meta_mut(value).shift_remove("namespace");
    }
    if !path.name.is_empty() {
        let own = name(value).to_owned();
        if own.is_empty() {
            meta_mut(value).insert("name".into(), path.name.clone().into());
        } else if own != path.name {
            let text =
                format!("the name of the object ({own}) does not match the name on the URL ({})", path.name);
            return Err(ApiError::bad_request(text));
        }
    }
    if !text(value, "/metadata/resourceVersion").is_empty() && path.name.is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let meta = meta_mut(value);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
        "resourceVersion",
    ] {
        meta.shift_remove(field);
    }
    Ok(())
}

fn generate_name(value: &mut Value) -> bool {
    let prefix = text(value, "/metadata/generateName").to_owned();
    if !name(value).is_empty() || prefix.is_empty() {
        return false;
    }
    // Names end at 63 characters, as labels made from them do.
    let prefix: String = prefix.chars().take(58).collect();
    let full = format!("{prefix}{}", object::name_suffix());
    meta_mut(value).insert("name".into(), full.into());
    true
}

/// New objects need a namespace that exists and is not going away.
fn namespace_accepts(call: &Call, value: &Value) -> Result<()> {
    let wanted = namespace(value);
    if !call.resource.namespaced || !call.resource.stored {
        return Ok(());
    }
    let stored = call.core.store.get("/namespaces", wanted);
    let stored = stored.ok_or_else(|| ApiError::not_found("namespaces", wanted))?;
    if object::is_terminating(&stored.value) {
        let text =
            format!("unable to create new content in namespace {wanted} because it is being terminated");
        let mut error = ApiError::forbidden(&call.resource.qualified(), name(value), text);
        if let Some(details) = &mut error.details {
            details["causes"] = serde_json::json!([{"reason": "NamespaceTerminating",
                "message": format!("namespace {wanted} is being terminated"), "field": "metadata.namespace"}]);
        }
        return Err(error);
    }
    Ok(())
}

fn stamp(value: &mut Value) {
    let meta = meta_mut(value);
    // A job's uid is chosen with its defaults, as its selector holds it.
    meta.entry("uid").or_insert_with(|| object::new_uid().into());
    meta.insert("creationTimestamp".into(), object::now().into());
}

fn check_valid(resource: &Resource, value: &Value, old: Option<&Value>) -> Result<()> {
    let errors = validation::validate(resource, value, old);
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&resource.kind, &resource.group, name(value), &errors))
}

fn book_fields(call: &Call, value: &mut Value, old: Option<&Value>, applied: Option<Value>) {
    match applied {
        Some(managed) => apply::settle(call, value, old, managed),
        None => apply::track(call, value, old),
    }
}

/// PUT of one object (or of its status).
pub async fn replace(call: &Call, body: &Bytes) -> Result<Answer> {
    let wanted = decode(call, body)?;
    let own = name(&wanted);
    if !own.is_empty() && own != call.path.name {
        let text =
            format!("the name of the object ({own}) does not match the name on the URL ({})", call.path.name);
        return Err(ApiError::bad_request(text));
    }
    let exists = call.core.store.get(&call.resource.storage, &call.key()).is_some();
    if !exists && call.resource.is("coordination.k8s.io", "leases") {
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
            after_write(call, &stored);
            Ok(Outcome::Stored(stored))
        }
        Err(StoreError::Stale) => Err(UpdateError::Stale),
        Err(StoreError::Missing) => Err(call.not_found().into()),
        Err(error) => Err(ApiError::internal(error).into()),
    }
}

/// `pods/binding`: the scheduler's word on which node a pod runs.
pub async fn bind(call: &Call, body: &Bytes) -> Result<Answer> {
    let binding = plain(&call.headers, body)?;
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
        let mut new = old.clone();
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
