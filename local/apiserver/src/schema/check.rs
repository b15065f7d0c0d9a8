//! Decoding against a schema as the real server does: unknown and duplicate fields, and values of the wrong type.

use super::Node;
use serde_json::{Map, Value};

/// What decoding found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Paths of fields the schema does not have.
    pub unknown: Vec<String>,
    /// The first value of the wrong type: path, JSON type found, type wanted.
    pub wrong_type: Option<(String, &'static str, String)>,
}

/// Checks an object against a schema; with `drop_unknown` removes what the schema does not have.
pub fn check(node: Node<'_>, value: &mut Value, drop_unknown: bool) -> Findings {
    let mut findings = Findings::default();
    walk(node, value, &mut Path::default(), drop_unknown, &mut findings);
    findings
}

/// A path that is built while walking down.
#[derive(Default)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn within<T>(&mut self, step: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        if !self.0.is_empty() && !step.starts_with('[') {
            self.0.push('.');
        }
        self.0.push_str(step);
        let result = f(self);
        self.0.truncate(length);
        result
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn walk(node: Node<'_>, value: &mut Value, path: &mut Path, drop_unknown: bool, out: &mut Findings) {
    if value.is_null() {
        return;
    }
    if let Some(wanted) = mismatch(node, value) {
        if out.wrong_type.is_none() {
            out.wrong_type = Some((path.as_str().to_owned(), json_type(value), wanted));
        }
        return;
    }
    match value {
        Value::Object(map) => walk_object(node, map, path, drop_unknown, out),
        Value::Array(items) => {
            if let Some(item) = node.items() {
                for (i, value) in items.iter_mut().enumerate() {
                    path.within(&format!("[{i}]"), |p| walk(item, value, p, drop_unknown, out));
                }
            }
        }
        _ => {}
    }
}

fn walk_object(
    node: Node<'_>,
    map: &mut Map<String, Value>,
    path: &mut Path,
    drop_unknown: bool,
    out: &mut Findings,
) {
    let open = node.is_opaque() || node.preserves_unknown() || allows_any(node);
    let mut unknown = Vec::new();
    for (key, value) in map.iter_mut() {
        match node.member(key) {
            Some(member) => path.within(key, |p| walk(member, value, p, drop_unknown, out)),
            None if open => {}
            None => unknown.push(key.clone()),
        }
    }
    for key in unknown {
        path.within(&key, |p| out.unknown.push(p.as_str().to_owned()));
        if drop_unknown {
            map.shift_remove(&key);
        }
    }
}

fn allows_any(node: Node<'_>) -> bool {
    node.value.get("additionalProperties").and_then(Value::as_bool) == Some(true)
}

/// The wanted type when the value has another.
fn mismatch(node: Node<'_>, value: &Value) -> Option<String> {
    if node.int_or_string() {
        return (!(value.is_string() || value.is_number())).then(|| "intstr.IntOrString".to_owned());
    }
    let fits = match node.kind() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    };
    if fits {
        return None;
    }
    let format = node.value.get("format").and_then(Value::as_str).unwrap_or_default();
    Some(match (node.kind(), format) {
        ("boolean", _) => "bool".to_owned(),
        ("integer", "int32") => "int32".to_owned(),
        ("integer", _) => "int64".to_owned(),
        (kind, _) => kind.to_owned(),
    })
}

/// The name of a value's JSON type, as Go's decoder says it.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
