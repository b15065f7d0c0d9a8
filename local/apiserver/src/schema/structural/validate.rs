//! Value validation of a custom resource against its OpenAPI v3 schema, in the words of the real server.

use super::super::Node;
use super::super::check::{Path, json_type};
use crate::error::FieldError;
use parking_lot::Mutex;
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// All violations of the schema; at most a hundred are reported.
pub fn validate(node: Node<'_>, value: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    walk(node, value, &mut Path::default(), &mut out);
    out.truncate(100);
    out
}

fn walk(node: Node<'_>, value: &Value, path: &mut Path, out: &mut Vec<FieldError>) {
    if value.is_null() && (node.nullable() || node.kind().is_empty()) {
        return;
    }
    if !type_fits(node, value) {
        let found = Value::from(json_type(value).replace("bool", "boolean").replace("number", "integer"));
        let wanted = if node.int_or_string() { "integer,string" } else { node.kind() };
        let name = if path.as_str().is_empty() { "<root>" } else { path.as_str() };
        let detail = format!("{name} in body must be of type {wanted}: {found}");
        out.push(FieldError::wrong_type(name, &found, detail));
        return;
    }
    check_enum(node, value, path, out);
    match value {
        Value::String(text) => check_string(node, text, path, out),
        Value::Number(_) => check_number(node, value, path, out),
        Value::Array(items) => check_array(node, items, path, out),
        Value::Object(map) => check_object(node, map, path, out),
        _ => {}
    }
    check_combinators(node, value, path, out);
}

fn type_fits(node: Node<'_>, value: &Value) -> bool {
    if node.int_or_string() {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match node.kind() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    }
}

fn check_enum(node: Node<'_>, value: &Value, path: &Path, out: &mut Vec<FieldError>) {
    let Some(allowed) = node.value.get("enum").and_then(Value::as_array) else { return };
    if !allowed.contains(value) {
        let names: Vec<String> =
            allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        out.push(FieldError::not_supported(path.as_str(), value, &names));
    }
}

fn number(node: Node<'_>, key: &str) -> Option<f64> {
    node.value.get(key).and_then(Value::as_f64)
}

fn size(node: Node<'_>, key: &str) -> Option<usize> {
    node.value.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn flag(node: Node<'_>, key: &str) -> bool {
    node.value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn check_string(node: Node<'_>, text: &str, path: &Path, out: &mut Vec<FieldError>) {
    let at = path.as_str();
    let value = Value::from(text);
    let length = text.chars().count();
    if let Some(max) = size(node, "maxLength").filter(|max| length > *max) {
        out.push(FieldError {
            field: at.into(),
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {max} bytes"),
        });
    }
    if let Some(min) = size(node, "minLength").filter(|min| length < *min) {
        out.push(FieldError::invalid(
            at,
            &value,
            format!("{at} in body should be at least {min} chars long"),
        ));
    }
    if let Some(pattern) = node.value.get("pattern").and_then(Value::as_str)
        && pattern_matches(pattern, text) == Some(false)
    {
        out.push(FieldError::invalid(at, &value, format!("{at} in body should match '{pattern}'")));
    }
    let format = node.value.get("format").and_then(Value::as_str).unwrap_or_default();
    let good = match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    if !good {
        out.push(FieldError::invalid(at, &value, format!("{at} in body must be of type {format}: {value}")));
    }
}

/// Whether a text matches a pattern; `None` for a pattern that is none. Compiled patterns are kept, as CRDs repeat them.
fn pattern_matches(pattern: &str, text: &str) -> Option<bool> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock();
    if compiled.len() >= 2048 {
        compiled.clear();
    }
    let found = compiled.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok()).clone();
    drop(compiled);
    found.map(|r| r.is_match(text))
}

fn check_number(node: Node<'_>, value: &Value, path: &Path, out: &mut Vec<FieldError>) {
    let at = path.as_str();
    let Some(n) = value.as_f64() else { return };
    if let Some(max) = number(node, "maximum") {
        let exclusive = flag(node, "exclusiveMaximum");
        if n > max || (exclusive && n >= max) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            out.push(FieldError::invalid(
                at,
                value,
                format!("{at} in body should be less than{or_equal} {max}"),
            ));
        }
    }
    if let Some(min) = number(node, "minimum") {
        let exclusive = flag(node, "exclusiveMinimum");
        if n < min || (exclusive && n <= min) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            out.push(FieldError::invalid(
                at,
                value,
                format!("{at} in body should be greater than{or_equal} {min}"),
            ));
        }
    }
    if let Some(of) = number(node, "multipleOf").filter(|of| *of != 0.0 && (n / of).fract() != 0.0) {
        out.push(FieldError::invalid(at, value, format!("{at} in body should be a multiple of {of}")));
    }
}

fn check_array(node: Node<'_>, items: &[Value], path: &mut Path, out: &mut Vec<FieldError>) {
    let at = path.as_str().to_owned();
    if let Some(max) = size(node, "maxItems").filter(|max| items.len() > *max) {
        out.push(FieldError::too_many(at.as_str(), items.len(), max));
    }
    if let Some(min) = size(node, "minItems").filter(|min| items.len() < *min) {
        let detail = format!("{at} in body should have at least {min} items");
        out.push(FieldError::invalid(at.as_str(), &Value::from(items.len()), detail));
    }
    check_unique(node, items, path, out);
    if let Some(item) = node.items() {
        for (i, value) in items.iter().enumerate() {
            path.within(&format!("[{i}]"), |p| walk(item, value, p, out));
        }
    }
}

fn check_unique(node: Node<'_>, items: &[Value], path: &mut Path, out: &mut Vec<FieldError>) {
    use super::super::ListType;
    let key = |v: &Value| -> Option<Value> {
        match node.list_type() {
            ListType::Set => Some(v.clone()),
            ListType::Map => {
                let keys = node.map_keys();
                Some(
                    keys.iter()
                        .filter_map(|k| Some(((*k).to_owned(), v.get(*k)?.clone())))
                        .collect::<Map<_, _>>()
                        .into(),
                )
            }
            ListType::Atomic => flag(node, "uniqueItems").then(|| v.clone()),
        }
    };
    let mut seen: Vec<String> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let Some(key) = key(item) else { return };
        let text = key.to_string();
        if seen.contains(&text) {
            path.within(&format!("[{i}]"), |p| out.push(FieldError::duplicate(p.as_str(), &key)));
        }
        seen.push(text);
    }
}

fn check_object(node: Node<'_>, map: &Map<String, Value>, path: &mut Path, out: &mut Vec<FieldError>) {
    let required = node.value.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if map.get(key).is_none() {
            path.within(key, |p| out.push(FieldError::required(p.as_str(), "")));
        }
    }
    if let Some(max) = size(node, "maxProperties").filter(|max| map.len() > *max) {
        out.push(FieldError::too_many(path.as_str(), map.len(), max));
    }
    if let Some(min) = size(node, "minProperties").filter(|min| map.len() < *min) {
        let at = path.as_str();
        let detail = format!("{at} in body should have at least {min} properties");
        out.push(FieldError::invalid(at, &Value::from(map.len()), detail));
    }
    for (key, value) in map {
        if let Some(member) = node.property(key) {
            path.within(key, |p| walk(member, value, p, out));
        } else if let Some(member) = node.additional() {
            path.within(key, |p| walk(member, value, p, out));
        }
    }
}

fn check_combinators(node: Node<'_>, value: &Value, path: &mut Path, out: &mut Vec<FieldError>) {
    let branches = |key: &str| node.value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let errors_of = |schema: &Value, path: &mut Path| {
        let mut errors = Vec::new();
        walk(Node { defs: node.defs, value: schema }.resolved(), value, path, &mut errors);
        errors
    };
    for schema in branches("allOf") {
        let errors = errors_of(schema, path);
        out.extend(errors);
    }
    let any = branches("anyOf");
    if !any.is_empty() && !any.iter().any(|s| errors_of(s, path).is_empty()) {
        out.push(combinator_error(path, value, "anyOf", "must validate at least one schema (anyOf)"));
        if let Some(first) = any.first() {
            let errors = errors_of(first, path);
            out.extend(errors);
        }
    }
    let one = branches("oneOf");
    let matching = one.iter().filter(|s| errors_of(s, path).is_empty()).count();
    if !one.is_empty() && matching != 1 {
        let found = if matching == 0 {
            "Found none valid".to_owned()
        } else {
            format!("Found {matching} valid alternatives")
        };
        out.push(combinator_error(
            path,
            value,
            "oneOf",
            &format!("must validate one and only one schema (oneOf). {found}"),
        ));
    }
    if let Some(not) = node.value.get("not")
        && errors_of(not, path).is_empty()
    {
        out.push(combinator_error(path, value, "not", "must not validate the schema (not)"));
    }
}

fn combinator_error(path: &Path, _value: &Value, _word: &str, text: &str) -> FieldError {
    let at = if path.as_str().is_empty() { "<nil>" } else { path.as_str() };
    let shown = if path.as_str().is_empty() { "\"\"".to_owned() } else { format!("\"{}\"", path.as_str()) };
    FieldError::invalid(at, &Value::Null, format!("{shown} {text}"))
}
