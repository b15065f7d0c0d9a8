//! How shapes and values are named in errors, and other small questions about values.

use serde_json::Value;

use crate::shape::Shape;

/// What a shape expects, and how to write it.
pub(super) fn shape(shape: &Shape) -> (&'static str, &'static str) {
    match shape {
        Shape::Message(_) | Shape::Map(_) | Shape::Free { .. } => {
            ("an object", "write `key: value` lines below it")
        }
        Shape::List(_) => ("a list", "write `- ` before each element"),
        Shape::Text => ("a text", "put it in quotes"),
        Shape::Bool => ("true or false", "write true or false without quotes"),
        Shape::Integer(_) => ("a whole number", "write it without quotes"),
        Shape::Number => ("a number", "write it without quotes"),
        Shape::Enum(_) => ("one of its names", "write the name of the value"),
        Shape::Duration => ("a duration", "write a number with a unit, such as \"10s\""),
    }
}

/// Whether a member of an exclusive group counts as given: an empty text or list does not, an empty message does.
pub(super) fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text != "UNSPECIFIED",
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// A value as it is named in an error, without its secrets or its bulk.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("the truth value {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 40 => format!("the text {text:?}"),
        Value::String(_) => "a long text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

pub(super) fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            out.extend(c.to_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    out
}
