//! Between JSON and the engine's values.

use std::collections::HashMap;

use gtmpl_ng::Value as Go;
use serde_json::{Map, Number, Value};

pub(super) fn from_json(value: &Value) -> Go {
    match value {
        Value::Null => Go::Nil,
        Value::Bool(flag) => Go::Bool(*flag),
        Value::String(text) => Go::String(text.clone()),
        Value::Number(number) => from_number(number),
        Value::Array(items) => Go::Array(items.iter().map(from_json).collect()),
        Value::Object(entries) => {
            let entries: HashMap<String, Go> =
                entries.iter().map(|(key, value)| (key.clone(), from_json(value))).collect();
            Go::Map(entries)
        }
    }
}

fn from_number(number: &Number) -> Go {
    if let Some(number) = number.as_i64() {
        return number.into();
    }
    if let Some(number) = number.as_u64() {
        return number.into();
    }
    number.as_f64().unwrap_or_default().into()
}

pub(super) fn to_json(value: &Go) -> Value {
    match value {
        Go::NoValue | Go::Nil | Go::Function(_) => Value::Null,
        Go::Bool(flag) => Value::Bool(*flag),
        Go::String(text) => Value::String(text.clone()),
        Go::Number(number) => {
            if let Some(number) = number.as_i64() {
                number.into()
            } else if let Some(number) = number.as_u64() {
                number.into()
            } else {
                number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
            }
        }
        Go::Array(items) => Value::Array(items.iter().map(to_json).collect()),
        Go::Object(entries) | Go::Map(entries) => {
            // Go ranges over maps in the order of their keys; so do we, and the output is stable.
            let mut keys: Vec<&String> = entries.keys().collect();
            keys.sort();
            let entries: Map<String, Value> =
                keys.into_iter().filter_map(|key| Some((key.clone(), to_json(entries.get(key)?)))).collect();
            Value::Object(entries)
        }
        // The enumeration may grow; what we do not know is nothing.
        #[allow(unreachable_patterns)]
        _ => Value::Null,
    }
}
