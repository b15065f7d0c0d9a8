//! Strategic merge patch: lists of objects merge by key, and directives (`$patch`, `$retainKeys`,
//! `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say what plain JSON cannot.

use crate::error::{ApiError, Result};
use crate::schema::Node;
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Merges a patch object into the current value.
pub fn merge_objects(node: Option<Node<'_>>, current: Value, patch: &Map<String, Value>) -> Result<Value> {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => return Ok(without_directives(&Value::Object(patch.clone()))),
        Some("delete") => return Ok(Value::Object(Map::new())),
        Some("merge") | None => {}
        Some(other) => return Err(ApiError::bad_request(format!("unknown $patch directive {other:?}"))),
    }
    let mut out = match current {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if let Some(keep) = patch.get(RETAIN).and_then(Value::as_array) {
        out.retain(|key, _| keep.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        merge_field(node, &mut out, patch, key, value)?;
    }
    for (key, order) in patch {
        // An order for a list that the patch itself does not touch.
        if let Some(field) = key.strip_prefix(ORDER)
            && !patch.contains_key(field)
            && let (Some(Value::Array(items)), Some(order)) = (out.get_mut(field), order.as_array())
        {
            let merge_key = node.and_then(|n| n.property(field)).and_then(|n| n.patch_merge_key());
            *items = reorder(std::mem::take(items), order, merge_key, &[]);
        }
    }
    Ok(Value::Object(out))
}

fn merge_field(
    node: Option<Node<'_>>,
    out: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    key: &str,
    value: &Value,
) -> Result<()> {
    if let Some(field) = key.strip_prefix(DELETE) {
        let gone = value.as_array().map_or(&[][..], Vec::as_slice);
        if let Some(Value::Array(items)) = out.get_mut(field) {
            items.retain(|item| !gone.contains(item));
        }
        return Ok(());
    }
    if key.starts_with('$') {
        return Ok(());
    }
    let member = node.and_then(|n| n.member(key));
    // The strategy stands beside the reference, not in the type it refers to.
    let declared = node.and_then(|n| n.properties()).and_then(|p| p.get(key));
    let replace = declared
        .and_then(|d| d.get("x-kubernetes-patch-strategy"))
        .and_then(Value::as_str)
        .is_some_and(|s| s.split(',').any(|s| s == "replace"));
    match (out.get(key), value) {
        (_, Value::Null) => {
            out.shift_remove(key);
        }
        (Some(current @ Value::Object(_)), Value::Object(patch)) if !replace => {
            let merged = merge_objects(member, current.clone(), patch)?;
            out.insert(key.to_owned(), merged);
        }
        (Some(Value::Array(current)), Value::Array(items))
            if member.is_some_and(|m| m.patch_strategy_has("merge")) =>
        {
            let order = patch.get(&format!("{ORDER}{key}")).and_then(Value::as_array);
            let merged = merge_lists(member, current.clone(), items, order.map(Vec::as_slice))?;
            out.insert(key.to_owned(), Value::Array(merged));
        }
        (None, Value::Object(map)) if map.get(PATCH).and_then(Value::as_str) == Some("delete") => {}
        _ => {
            out.insert(key.to_owned(), without_directives(value));
        }
    }
    Ok(())
}

fn merge_lists(
    node: Option<Node<'_>>,
    current: Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
) -> Result<Vec<Value>> {
    let original = current.clone();
    let merge_key = node.and_then(|n| n.patch_merge_key());
    let merged = match merge_key {
        None => union(current, patch),
        Some(key) => merge_by_key(node.and_then(|n| n.items()), current, patch, key)?,
    };
    Ok(match order {
        Some(order) => reorder(merged, order, merge_key, &original),
        None => merged,
    })
}

fn union(mut current: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    for item in patch {
        if !current.contains(item) {
            current.push(item.clone());
        }
    }
    current
}

fn merge_by_key(
    item: Option<Node<'_>>,
    mut current: Vec<Value>,
    patch: &[Value],
    key: &str,
) -> Result<Vec<Value>> {
    if patch.iter().any(|p| p.get(PATCH).and_then(Value::as_str) == Some("replace")) {
        let rest = patch.iter().filter(|p| p.get(PATCH).is_none());
        return Ok(rest.map(without_directives).collect());
    }
    for entry in patch {
        let Some(map) = entry.as_object() else {
            return Err(ApiError::bad_request(format!("a list that merges by {key:?} must hold objects")));
        };
        let Some(id) = map.get(key) else {
            return Err(ApiError::bad_request(format!(
                "map: {entry} does not contain declared merge key: {key}"
            )));
        };
        let position = current.iter().position(|c| c.get(key) == Some(id));
        match (map.get(PATCH).and_then(Value::as_str), position) {
            (Some("delete"), _) => current.retain(|c| c.get(key) != Some(id)),
            (_, Some(i)) => current[i] = merge_objects(item, std::mem::take(&mut current[i]), map)?,
            (_, None) => current.push(without_directives(entry)),
        }
    }
    Ok(current)
}

/// Puts the named items in the order given; items that only the server has stay where they were relative to them.
fn reorder(items: Vec<Value>, order: &[Value], merge_key: Option<&str>, original: &[Value]) -> Vec<Value> {
    let id = |v: &Value| -> Value {
        match merge_key {
            Some(key) => v.get(key).cloned().unwrap_or(Value::Null),
            None => v.clone(),
        }
    };
    let wanted: Vec<Value> = order.iter().map(&id).collect();
    let before = |v: &Value| original.iter().position(|o| id(o) == id(v));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|v| wanted.contains(&id(v)));
    named.sort_by_key(|v| wanted.iter().position(|w| *w == id(v)));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        if let Some(place) = before(&item) {
            while let Some(other) = others.next_if(|o| before(o).is_some_and(|p| p < place)) {
                out.push(other);
            }
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// A value that is taken over from the patch as it is: without directives and without nulls.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(k, v)| !k.starts_with('$') && !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), without_directives(v))).collect())
        }
        Value::Array(items) => {
            let deleted = |v: &&Value| v.get(PATCH).and_then(Value::as_str) == Some("delete");
            Value::Array(items.iter().filter(|v| !deleted(v)).map(without_directives).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
