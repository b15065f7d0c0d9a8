//! Reading JSON that other programs wrote: what is absent is empty.

use serde_json::Value;

static NULL: Value = Value::Null;

/// The value at a path of field names divided by dots.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, field| value.get(field).unwrap_or(&NULL))
}

/// The text at a path; empty when there is none.
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The items of the list at a path.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The texts of the list at a path.
pub fn texts<'a>(value: &'a Value, path: &str) -> Vec<&'a str> {
    list(value, path).iter().filter_map(Value::as_str).collect()
}

/// The number at a path; proto-JSON writes large ones as text.
pub fn number(value: &Value, path: &str) -> Option<u64> {
    let found = at(value, path);
    found.as_u64().or_else(|| found.as_str()?.parse().ok())
}
