//! `delete`, `deletecollection` and eviction.

use super::write::plain;
use super::{Answer, Call, read};
use crate::error::{ApiError, Result};
use crate::object::{self, int, is_terminating, list, meta_mut, name, text, uid};
use crate::registry::Resource;
use crate::server::Core;
use crate::store::{StoreError, Stored};
use crate::{admission, strategy};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// How the dependents of a deleted object fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Deleted afterwards.
    Background,
    /// Deleted first.
    Foreground,
    /// Left alone.
    Orphan,
}

/// What `DeleteOptions` say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Seconds a pod gets to stop.
    pub grace: Option<i64>,
    /// What becomes of dependents.
    pub propagation: Option<Propagation>,
    /// Only if the object has this uid.
    pub uid: String,
    /// Only if the object has this version.
    pub version: String,
}

/// Finalizers that stand for a propagation policy.
pub const FOREGROUND: &str = "foregroundDeletion";
/// See [`FOREGROUND`].
pub const ORPHAN: &str = "orphan";

fn options(call: &Call, value: &Value) -> Result<Options> {
    let from_query = |k: &str| call.query.get(k).to_owned();
    let policy = match text(value, "/propagationPolicy") {
        "" => from_query("propagationPolicy"),
        p => p.to_owned(),
    };
    let orphan = value.get("orphanDependents").and_then(Value::as_bool);
    let propagation = match (policy.as_str(), orphan) {
        ("Background", _) => Some(Propagation::Background),
        ("Foreground", _) => Some(Propagation::Foreground),
        ("Orphan", _) | ("", Some(true)) => Some(Propagation::Orphan),
        ("", Some(false)) => Some(Propagation::Background),
        ("", None) => None,
        (other, _) => {
            let error = crate::error::FieldError::not_supported(
                "propagationPolicy",
                &other.into(),
                &["Foreground", "Background", "Orphan"],
            );
            return Err(ApiError::invalid("DeleteOptions", "meta.k8s.io", "", &[error]));
        }
    };
    let grace = value.get("gracePeriodSeconds").and_then(Value::as_i64);
    let grace = grace.or_else(|| from_query("gracePeriodSeconds").parse().ok());
    Ok(Options {
        grace: grace.map(|seconds| seconds.min(LONGEST_GRACE)),
        propagation,
        uid: text(value, "/preconditions/uid").to_owned(),
        version: text(value, "/preconditions/resourceVersion").to_owned(),
    })
}

/// The call with the `dryRun` of its DeleteOptions, where kubectl puts it: webhooks and all else see one answer.
fn with_dry_run(call: &Call, options: &Value) -> Call {
    let mut call = call.clone();
    let wanted = list(options, "/dryRun");
    if !wanted.is_empty() {
        let all = wanted.iter().all(|value| value == "All");
        let value = if all { "All".to_owned() } else { Value::from(wanted).to_string() };
        call.query.set("dryRun", value);
    }
    call
}

/// DELETE of one object.
pub async fn one(call: &Call, body: &Bytes) -> Result<Answer> {
    let body = plain(&call.headers, body)?;
    let call = &with_dry_run(call, &body);
    let options = options(call, &body)?;
    let stored = call.core.store.get(&call.resource.storage, &call.key()).ok_or_else(|| call.not_found())?;
    protect(&call.resource, &call.path.name)?;
    admission::delete(call, &stored.value).await?;
    if call.dry_run()? {
        return Ok(Answer::ok(&success(&call.resource, &stored.value)));
    }
    match delete(&call.core, &call.resource, &call.key(), &options).await? {
        Deleted::Gone(stored) if call.resource.is("", "pods") => read::object(call, StatusCode::OK, &stored),
        Deleted::Gone(stored) => Ok(Answer::ok(&success(&call.resource, &stored.value))),
        Deleted::Pending(stored) => read::object(call, StatusCode::OK, &stored),
    }
}

fn protect(resource: &Resource, name: &str) -> Result<()> {
    if resource.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(ApiError::forbidden("namespaces", name, "this namespace may not be deleted"));
    }
    Ok(())
}

fn success(resource: &Resource, value: &Value) -> Value {
    let mut details = json!({"name": name(value)});
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    details["kind"] = json!(resource.plural);
    details["uid"] = json!(uid(value));
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// DELETE of a collection; of one namespace only, where there are namespaces.
pub async fn collection(call: &Call, body: &Bytes) -> Result<Answer> {
    if call.resource.namespaced && call.path.namespace.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let body = plain(&call.headers, body)?;
    let call = &with_dry_run(call, &body);
    let options = options(call, &body)?;
    let selection = read::Selection::of(call)?;
    let prefix =
        if call.path.namespace.is_empty() { String::new() } else { format!("{}/", call.path.namespace) };
    let listing = call.core.store.list(&call.resource.storage, &prefix);
    let dry_run = call.dry_run()?;
    for (key, stored) in listing.items {
        if !selection.matches(&stored.value) || protect(&call.resource, name(&stored.value)).is_err() {
            continue;
        }
        admission::delete(call, &stored.value).await?;
        if !dry_run {
            match delete(&call.core, &call.resource, &key, &options).await {
                Ok(_) => {}
                Err(e) if e.code == StatusCode::NOT_FOUND => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(Answer::ok(
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {}}),
    ))
}

/// POST to `pods/eviction`: a graceful delete, unless a disruption budget is exhausted.
pub async fn evict(call: &Call, body: &Bytes) -> Result<Answer> {
    let eviction = plain(&call.headers, body)?;
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    let stored = call.core.store.get("/pods", &call.key()).ok_or_else(|| call.not_found())?;
    let budgets = call.core.store.list("policy/poddisruptionbudgets", &format!("{}/", call.path.namespace));
    for (_, budget) in budgets.items {
        let selector = crate::selector::LabelSelector::from_object(budget.value.pointer("/spec/selector"));
        let exhausted = int(&budget.value, "/status/disruptionsAllowed").is_some_and(|n| n <= 0);
        if exhausted && selector.matches(&stored.value) {
            let text = "Cannot evict pod as it would violate the pod's disruption budget.";
            return Err(ApiError::too_many_requests(text, 10));
        }
    }
    let wanted = eviction.get("deleteOptions").cloned().unwrap_or_else(|| json!({}));
    let call = &with_dry_run(call, &wanted);
    if call.dry_run()? {
        return Ok(Answer::json(StatusCode::CREATED, &done));
    }
    delete(&call.core, &call.resource, &call.key(), &options(call, &wanted)?).await?;
    Ok(Answer::json(StatusCode::CREATED, &done))
}

/// What a deletion came to.
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Stored>),
    /// It waits for finalizers or for its processes to stop.
    Pending(Arc<Stored>),
}

/// Deletes an object, or marks it as terminating when something must happen first.
pub async fn delete(core: &Arc<Core>, resource: &Resource, key: &str, options: &Options) -> Result<Deleted> {
    let missing = || ApiError::not_found(&resource.qualified(), key.rsplit('/').next().unwrap_or(key));
    for _ in 0..16 {
        let stored = core.store.get(&resource.storage, key).ok_or_else(missing)?;
        check_preconditions(resource, &stored, options)?;
        let marked = mark(resource, &stored.value, options);
        let result = match marked {
            None => core.store.delete(&resource.storage, key, stored.version).await.map(Deleted::Gone),
            Some(value) => {
                let updated = core.store.update(&resource.storage, key, stored.version, value).await;
                updated.map(Deleted::Pending)
            }
        };
        match result {
            Ok(deleted) => {
                if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
                    crate::crd::load(core);
                }
                return Ok(deleted);
            }
            Err(StoreError::Stale) => continue,
            Err(StoreError::Missing) => return Err(missing()),
            Err(error) => return Err(ApiError::internal(error)),
        }
    }
    Err(ApiError::stale(&resource.qualified(), key))
}

fn check_preconditions(resource: &Resource, stored: &Stored, options: &Options) -> Result<()> {
    let value = &stored.value;
    let conflict = |what: &str, wanted: &str, found: &str| {
        let text =
            format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(ApiError::conflict(&resource.qualified(), name(value), text))
    };
    if !options.uid.is_empty() && options.uid != uid(value) {
        return conflict("UID", &options.uid, uid(value));
    }
    if !options.version.is_empty() && options.version != stored.version.to_string() {
        return conflict("ResourceVersion", &options.version, &stored.version.to_string());
    }
    Ok(())
}

/// The longest time a pod may take to end, in seconds: more is for ever, and no time could be written for it.
pub const LONGEST_GRACE: i64 = u32::MAX as i64;

/// The object marked as terminating; `None` when it can go at once.
fn mark(resource: &Resource, value: &Value, options: &Options) -> Option<Value> {
    let mut new = value.clone();
    let finalizers = wanted_finalizers(resource, value, options.propagation);
    let grace = if resource.is("", "pods") { pod_grace(value, options.grace) } else { 0 };
    let waits_for_namespace = resource.is("", "namespaces") && !list(value, "/spec/finalizers").is_empty();
    if finalizers.is_empty() && grace == 0 && !waits_for_namespace {
        return None;
    }
    let meta = meta_mut(&mut new);
    meta.insert("finalizers".into(), finalizers.iter().map(|f| json!(f)).collect());
    if finalizers.is_empty() {
        meta.shift_remove("finalizers");
    }
    let shortened = int(value, "/metadata/deletionGracePeriodSeconds").is_some_and(|g| grace < g);
    if !is_terminating(value) || shortened {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
        let first = !is_terminating(value);
        meta.insert("deletionTimestamp".into(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
        meta.insert("deletionGracePeriodSeconds".into(), json!(grace));
        if first && resource.has_generation() {
            let generation = meta.get("generation").and_then(Value::as_i64).unwrap_or(0);
            meta.insert("generation".into(), json!(generation + 1));
        }
    }
    if resource.is("", "namespaces") {
        object::child(&mut new, "status").insert("phase".into(), json!("Terminating"));
    }
    Some(new)
}

fn wanted_finalizers(resource: &Resource, value: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let own = list(value, "/metadata/finalizers").iter().filter_map(Value::as_str);
    let mut out: Vec<String> = own.map(str::to_owned).collect();
    let set = |out: &mut Vec<String>, wanted: Option<&str>| {
        out.retain(|f| f != FOREGROUND && f != ORPHAN);
        out.extend(wanted.map(str::to_owned));
    };
    match propagation {
        Some(Propagation::Background) => set(&mut out, None),
        Some(Propagation::Foreground) => set(&mut out, Some(FOREGROUND)),
        Some(Propagation::Orphan) => set(&mut out, Some(ORPHAN)),
        None => {}
    }
    // A CRD takes its objects with it.
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions")
        && !out.iter().any(|f| f == crate::crd::FINALIZER)
    {
        out.push(crate::crd::FINALIZER.to_owned());
    }
    out
}

fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    if strategy::pod_is_idle(pod) {
        return 0;
    }
    let own = int(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
    let wanted = asked.unwrap_or(own).clamp(0, LONGEST_GRACE);
    match int(pod, "/metadata/deletionGracePeriodSeconds").filter(|_| is_terminating(pod)) {
        // Grace only gets shorter.
        Some(current) => wanted.min(current),
        None => wanted,
    }
}
