//! Merging an applied configuration into an object, and taking out what is no longer applied.

use super::path::{Path, Set, Step, root_member, step_of};
use crate::registry::Resource;
use crate::schema::{ListType, Node, builtin::definitions};
use serde_json::{Map, Value};

/// The object with the configuration merged in.
pub fn merge(resource: &Resource, live: &Value, config: &Value) -> Value {
    let defs = definitions();
    let mut out = live.as_object().cloned().unwrap_or_default();
    for (key, value) in config.as_object().into_iter().flatten() {
        let node = root_member(resource, &defs, key);
        let merged = merge_value(node, out.get(key), value);
        out.insert(key.clone(), merged);
    }
    Value::Object(out)
}

fn merge_value(node: Option<Node<'_>>, live: Option<&Value>, config: &Value) -> Value {
    match (live, config) {
        (Some(Value::Object(live)), Value::Object(config)) if !node.is_some_and(|n| n.is_atomic_map()) => {
            let mut out = live.clone();
            for (key, value) in config {
                let merged = merge_value(node.and_then(|n| n.member(key)), live.get(key), value);
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        (Some(Value::Array(live)), Value::Array(config)) => match node.map(|n| n.list_type()) {
            Some(kind @ (ListType::Map | ListType::Set)) => {
                Value::Array(merge_list(node, kind, live, config))
            }
            _ => Value::Array(config.clone()),
        },
        _ => config.clone(),
    }
}

/// Configured items in their order; items that only the object has stay where they were relative to them.
fn merge_list(node: Option<Node<'_>>, kind: ListType, live: &[Value], config: &[Value]) -> Vec<Value> {
    let id = |v: &Value| step_of(node, kind, v);
    let configured: Vec<Step> = config.iter().map(id).collect();
    let mut rest = live.iter().enumerate().filter(|(_, v)| !configured.contains(&id(v))).peekable();
    let mut out = Vec::with_capacity(live.len() + config.len());
    for (item, step) in config.iter().zip(&configured) {
        let before = live.iter().position(|v| id(v) == *step);
        if let Some(place) = before {
            while let Some((_, other)) = rest.next_if(|(i, _)| *i < place) {
                out.push(other.clone());
            }
        }
        let item_node = node.and_then(|n| n.items());
        out.push(merge_value(item_node, before.and_then(|i| live.get(i)), item));
    }
    out.extend(rest.map(|(_, v)| v.clone()));
    out
}

/// Takes out what was applied last time, is not now, and belongs to nobody else.
pub fn prune(resource: &Resource, value: &mut Value, last: &Set, applied: &Set, others: &Set) {
    let defs = definitions();
    // Shortest first: with a list item goes all that is in it, while its key fields still tell which it is.
    let mut gone: Vec<&Path> =
        last.iter().filter(|p| !applied.contains(*p) && !others.contains(*p)).collect();
    gone.sort_by_key(|p| p.len());
    let kept_below = |path: &Path| {
        let inside = |p: &&Path| p.len() > path.len() && p.starts_with(path);
        applied.range(path.clone()..).take_while(|p| p.starts_with(path)).any(|p| inside(&p))
            || others.range(path.clone()..).take_while(|p| p.starts_with(path)).any(|p| inside(&p))
    };
    for path in gone {
        if kept_below(path) || is_key_field(path) {
            continue;
        }
        let Some((Step::Field(first), rest)) = path.split_first() else { continue };
        let Some(map) = value.as_object_mut() else { return };
        if rest.is_empty() {
            map.shift_remove(first);
        } else if let Some(child) = map.get_mut(first) {
            remove(root_member(resource, &defs, first), child, rest);
        }
    }
}

/// Whether a path is one of the fields that identify the list item it is in; they go only with the item.
fn is_key_field(path: &[Step]) -> bool {
    matches!(path, [.., item, Step::Field(field)] if item.has_key(field))
}

fn remove(node: Option<Node<'_>>, value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => remove_field(node, map, name, rest),
        (step, Value::Array(items)) => {
            let kind = if matches!(step, Step::Value(_)) { ListType::Set } else { ListType::Map };
            let Some(i) = items.iter().position(|v| step_of(node, kind, v) == *step) else { return };
            if rest.is_empty() {
                items.remove(i);
            } else {
                remove(node.and_then(|n| n.items()), &mut items[i], rest);
            }
        }
        _ => {}
    }
}

fn remove_field(node: Option<Node<'_>>, map: &mut Map<String, Value>, name: &str, rest: &[Step]) {
    if rest.is_empty() {
        map.shift_remove(name);
        return;
    }
    let Some(child) = map.get_mut(name) else { return };
    remove(node.and_then(|n| n.member(name)), child, rest);
    let empty = match child {
        Value::Object(m) => m.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => false,
    };
    if empty {
        map.shift_remove(name);
    }
}
