//! Server-side apply and managed fields: who set which field, and who may change it.
//!
//! A field is a path of steps; a manager owns a set of paths. Applying merges the configuration into the object, removes
//! what the manager had applied before and no longer does, and refuses to change what others own unless forced.

mod conflict;
mod identity;
mod managed;
mod merge;
mod path;

use crate::api::Call;
use crate::error::{ApiError, FieldError, Result};
use crate::object::{self, meta_mut, text};
use crate::registry::Resource;
use bytes::Bytes;
use managed::{Managed, Operation};
use path::{Fields, Set};
use serde_json::{Value, json};

/// Decodes an apply configuration (YAML or JSON) and checks that it names what the path names.
pub fn config(call: &Call, body: &Bytes) -> Result<Value> {
    let value: Value = yaml_serde::from_slice(body)
        .map_err(|e| ApiError::bad_request(format!("error decoding YAML: {e}")))?;
    let resource = &call.resource;
    if text(&value, "/apiVersion") != resource.api_version() || text(&value, "/kind") != resource.kind {
        return Err(ApiError::bad_request(format!(
            "the apply configuration must have apiVersion {:?} and kind {:?}",
            resource.api_version(),
            resource.kind
        )));
    }
    let name = object::name(&value);
    if !name.is_empty() && name != call.path.name {
        let text = format!("name in patch ({name}) does not match the name on the URL ({})", call.path.name);
        return Err(ApiError::bad_request(text));
    }
    if !object::list(&value, "/metadata/managedFields").is_empty() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    if call.query.get("fieldManager").is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid("PatchOptions", "meta.k8s.io", "", &[error]));
    }
    Ok(value)
}

/// Merges a configuration into an object; returns the new object and its managed fields.
pub fn apply(call: &Call, old: Option<&Value>, config: &Value) -> Result<(Value, Value)> {
    let resource = &call.resource;
    identity::check(resource, config)?;
    let empty = json!({});
    let live = old.unwrap_or(&empty);
    let mut managed = Managed::read(live);
    let entry = managed.entry(call, Operation::Apply);
    let last = managed.set(&entry).clone();
    let applied: Set = without_ignored(Fields::of(resource, config)).into_keys();
    let mut new = merge::merge(resource, live, config);
    let others = managed.others(&entry);
    merge::prune(resource, &mut new, &last, &applied, &others);
    let change = Change::between(resource, live, &new);
    let touched = change.touched();
    if old.is_some() {
        let conflicts = managed.conflicts(&entry, &touched);
        if !conflicts.is_empty() && !call.query.flag("force") {
            return Err(conflict::error(&conflicts));
        }
    }
    managed.take_from_others(&entry, &touched, &change.removed);
    managed.put(&entry, applied, !change.is_empty() || old.is_none());
    Ok((new, managed.write()))
}

/// Books what a write other than apply changed.
pub fn track(call: &Call, value: &mut Value, old: Option<&Value>) {
    let resource = &call.resource;
    let wanted = value.pointer("/metadata/managedFields").cloned();
    let before = old.and_then(|o| o.pointer("/metadata/managedFields")).cloned();
    let reset = wanted.as_ref().is_some_and(|w| w == &json!([]) || w == &json!([{}]));
    if reset && old.is_some() {
        meta_mut(value).shift_remove("managedFields");
        return;
    }
    // A write may say itself what is managed (kubectl moves entries when it changes from one kind of apply to the other).
    let source = if old.is_none() { None } else { wanted.filter(|w| !w.is_null()).or(before) };
    let mut managed = Managed::from_list(source.as_ref());
    let entry = managed.entry(call, Operation::Update);
    let empty = json!({});
    let mut change = Change::between(resource, old.unwrap_or(&empty), value);
    if old.is_none() && resource.has_status {
        change.added.retain(|p| !path::is_status(p));
    }
    let touched = change.touched();
    managed.take_from_others(&entry, &touched, &change.removed);
    if !change.is_empty() {
        let own: Set = managed.set(&entry).difference(&change.removed).cloned().collect();
        managed.put(&entry, own.union(&touched).cloned().collect(), true);
    }
    let list = managed.write();
    if list.as_array().is_some_and(Vec::is_empty) {
        meta_mut(value).shift_remove("managedFields");
    } else {
        meta_mut(value).insert("managedFields".into(), list);
    }
}

/// Puts what apply booked into the object that admission has completed.
pub fn settle(value: &mut Value, managed: Value) {
    meta_mut(value).insert("managedFields".into(), managed);
}

/// The fields in which two objects differ.
struct Change {
    added: Set,
    modified: Set,
    removed: Set,
}

impl Change {
    fn between(resource: &Resource, old: &Value, new: &Value) -> Self {
        let before = without_ignored(Fields::of(resource, old)).0;
        let after = without_ignored(Fields::of(resource, new)).0;
        let added = after.keys().filter(|p| !before.contains_key(*p)).cloned().collect();
        let removed = before.keys().filter(|p| !after.contains_key(*p)).cloned().collect();
        let differs = |(path, value): (&path::Path, &Value)| {
            before.get(path).filter(|b| *b != value).map(|_| path.clone())
        };
        let modified = after.iter().filter_map(differs).collect();
        Change { added, modified, removed }
    }

    fn touched(&self) -> Set {
        self.added.union(&self.modified).cloned().collect()
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

fn without_ignored(mut fields: Fields) -> Fields {
    fields.0.retain(|path, _| !path::is_ignored(path));
    fields
}

#[cfg(test)]
mod tests;
