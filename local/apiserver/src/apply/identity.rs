//! Whether the list items of a configuration can be told apart: each has its key fields, and no two have the same.

use super::path::{Path, Step, root_member, shown, step_of};
use crate::error::{ApiError, Result};
use crate::object::{name, namespace};
use crate::registry::Resource;
use crate::schema::{ListType, Node, builtin::definitions};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Refuses a configuration as Kubernetes does, with its words.
///
/// # Errors
/// All faults that there are, in one message.
pub fn check(resource: &Resource, config: &Value) -> Result<()> {
    let defs = definitions();
    let mut faults = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        let mut path = vec![Step::Field(key.clone())];
        walk(root_member(resource, &defs, key), value, &mut path, &mut faults);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let place: Vec<&str> = [namespace(config), name(config)].into_iter().filter(|p| !p.is_empty()).collect();
    let named = format!("{}; {}, Kind={}", place.join("/"), resource.api_version(), resource.kind);
    Err(ApiError::untyped(&named, &faults.join("\n")))
}

fn walk(node: Option<Node<'_>>, value: &Value, path: &mut Path, faults: &mut Vec<String>) {
    let kind = node.map_or(ListType::Atomic, |n| n.list_type());
    match value {
        Value::Object(map) if !node.is_some_and(|n| n.is_atomic_map()) => fields(node, map, path, faults),
        Value::Array(items) if kind != ListType::Atomic => list(node, kind, items, path, faults),
        _ => {}
    }
}

fn fields(node: Option<Node<'_>>, map: &Map<String, Value>, path: &mut Path, faults: &mut Vec<String>) {
    for (key, value) in map {
        path.push(Step::Field(key.clone()));
        walk(node.and_then(|n| n.member(key)), value, path, faults);
        path.pop();
    }
}

fn list(node: Option<Node<'_>>, kind: ListType, items: &[Value], path: &mut Path, faults: &mut Vec<String>) {
    let keys = node.map(|n| n.map_keys()).unwrap_or_default();
    let mut seen: HashSet<Step> = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let step = step_of(node, kind, item);
        if let Some(key) = keys.iter().find(|key| kind == ListType::Map && !step.has_key(key)) {
            faults.push(format!(
                "{}: element {index}: associative list with keys has an element that omits key field {key:?} (and doesn't have default value)",
                shown(path)
            ));
            continue;
        }
        if !seen.insert(step.clone()) {
            let what = shown(std::slice::from_ref(&step));
            faults.push(format!("{}: duplicate entries for key {what}", shown(path)));
        }
        path.push(step);
        if let Value::Object(map) = item {
            fields(node.and_then(|n| n.items()), map, path, faults);
        }
        path.pop();
    }
}
