//! Structural schemas of custom resources: defaulting, pruning and validation.

mod validate;

pub use validate::validate;

use super::Node;
use serde_json::{Map, Value};

/// Fills in `default`s where the object has nothing.
pub fn apply_defaults(node: Node<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            default_members(node, map);
            for (key, value) in map.iter_mut() {
                if let Some(member) = node.member(key) {
                    apply_defaults(member, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(item) = node.items() {
                items.iter_mut().for_each(|value| apply_defaults(item, value));
            }
        }
        _ => {}
    }
}

fn default_members(node: Node<'_>, map: &mut Map<String, Value>) {
    for (key, schema) in node.properties().into_iter().flatten() {
        let Some(default) = schema.get("default") else { continue };
        let nullable = schema.get("nullable").and_then(Value::as_bool).unwrap_or(false);
        match map.get(key) {
            None => {
                map.insert(key.clone(), default.clone());
            }
            Some(Value::Null) if !nullable => {
                map.insert(key.clone(), default.clone());
            }
            Some(_) => {}
        }
    }
}

/// Removes nulls that the schema does not allow (they mean "absent").
pub fn drop_nulls(node: Node<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                !value.is_null() || node.member(key).is_none_or(|m| m.nullable() || m.preserves_unknown())
            });
            for (key, value) in map.iter_mut() {
                if let Some(member) = node.member(key) {
                    drop_nulls(member, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(item) = node.items() {
                items.iter_mut().for_each(|value| drop_nulls(item, value));
            }
        }
        _ => {}
    }
}
