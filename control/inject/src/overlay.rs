//! Laying one pod over another, as a strategic merge patch would.

use serde_json::{Map, Value};

/// Lays `patch` over `base`: maps merge, named lists merge by their key, everything else is replaced. A null removes.
pub(crate) fn overlay(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => overlay_map(base, patch),
        (base, patch) => *base = patch.clone(),
    }
}

fn overlay_map(base: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (field, value) in patch {
        match (base.get_mut(field), value) {
            (_, Value::Null) => {
                base.shift_remove(field);
            }
            (Some(Value::Array(base)), Value::Array(patch)) => match merge_key(field) {
                Some(key) => overlay_list(base, patch, key),
                None => *base = patch.clone(),
            },
            (Some(base), value) => overlay(base, value),
            (None, value) => {
                base.insert(field.clone(), value.clone());
            }
        }
    }
}

fn overlay_list(base: &mut Vec<Value>, patch: &[Value], key: &str) {
    for item in patch {
        let id = item.get(key);
        match base.iter_mut().find(|known| id.is_some() && known.get(key) == id) {
            Some(known) => overlay_item(known, item),
            None => base.push(item.clone()),
        }
    }
}

/// A variable has one source: a plain value takes the place of `valueFrom` and the other way round.
fn overlay_item(known: &mut Value, item: &Value) {
    let source = |value: &Value| value.get("value").is_some() || value.get("valueFrom").is_some();
    if source(known) && source(item) {
        *known = item.clone();
    } else {
        overlay(known, item);
    }
}

/// The keys by which Kubernetes merges the lists of a pod.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets" => {
            Some("name")
        }
        "sysctls" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_lists_merge_by_key_and_plain_lists_are_replaced() {
        let mut base = json!({"env": [{"name": "A", "value": "1"}], "args": ["x", "y"], "image": "old"});
        let patch = json!({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}], "args": ["z"]});
        overlay(&mut base, &patch);
        let expected = json!({"env": [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}],
            "args": ["z"], "image": "old"});
        assert_eq!(base, expected);
    }

    #[test]
    fn a_plain_value_takes_the_place_of_a_reference() {
        let mut base = json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]});
        overlay(&mut base, &json!({"env": [{"name": "A", "value": "1"}]}));
        assert_eq!(base, json!({"env": [{"name": "A", "value": "1"}]}));
    }

    #[test]
    fn null_removes() {
        let mut base = json!({"lifecycle": {"preStop": {}}});
        overlay(&mut base, &json!({"lifecycle": null}));
        assert_eq!(base, json!({}));
    }
}
