//! `create`, `update` and `patch`: decoding, admission, validation, storing.

mod decode;
mod update;

pub use decode::{decode, plain};
pub use update::{bind, patch, replace, update_with};

use super::{Answer, Call, read};
use crate::auth::escalation;
use crate::error::{ApiError, Result};
use crate::object::{self, meta_mut, name, namespace, text};
use crate::registry::Resource;
use crate::store::{StoreError, Stored, key};
use crate::{admission, apply, defaults, services, strategy, validation};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::Value;
use std::sync::Arc;

/// What a write led to.
pub enum Outcome {
    /// It is stored, or has gone with the write that took its last finalizer.
    Stored(Arc<Stored>),
    /// It was a dry run.
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
    if let Some(warning) = crate::registry::without_effect(&resource.group, &resource.plural) {
        call.warn(warning);
    }
    crate::registry::ignored(resource, &value).into_iter().for_each(|warning| call.warn(warning));
    namespace_accepts(call, &value)?;
    strategy::prepare_create(resource, &mut value);
    defaults::apply(resource, &mut value);
    admission::builtin_mutate(call, &mut value, None)?;
    let mut value = admission::mutate(call, "CREATE", value, None).await?;
    defaults::apply(resource, &mut value);
    admission::builtin_validate(call, &value)?;
    escalation::check(call, &value, None)?;
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
                after_write(call);
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
fn after_write(call: &Call) {
    if call.resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crate::crd::load(&call.core);
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
        Some(managed) => apply::settle(value, managed),
        None => apply::track(call, value, old),
    }
}
