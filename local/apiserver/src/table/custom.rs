//! Columns of custom resources: `additionalPrinterColumns` and the JSON paths in them.

use super::Column;
use super::format::since;
use crate::registry::Custom;
use serde_json::{Value, json};

/// NAME and the columns of the CRD.
pub fn columns(custom: &Custom) -> Vec<Column> {
    let name = Column { name: "Name".into(), kind: "string".into(), priority: 0 };
    let own = custom.columns.iter();
    let own = own.map(|c| Column { name: c.name.clone(), kind: c.kind.clone(), priority: c.priority });
    std::iter::once(name).chain(own).collect()
}

/// Cells after the name.
pub fn cells(custom: &Custom, object: &Value) -> Vec<Value> {
    custom.columns.iter().map(|c| cell(&c.kind, &find(object, &c.json_path))).collect()
}

fn cell(kind: &str, found: &[&Value]) -> Value {
    let Some(first) = found.first() else { return Value::Null };
    match (kind, first) {
        ("date", Value::String(time)) => json!(since(time)),
        ("integer" | "number" | "boolean", _) if found.len() == 1 => (*first).clone(),
        (_, Value::String(s)) if found.len() == 1 => json!(s),
        _ if found.len() == 1 => json!(first.to_string()),
        _ => {
            let all: Vec<String> =
                found.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
            json!(all.join(" "))
        }
    }
}

/// What a JSON path (`.spec.hosts`, `.status.conditions[?(@.type=="Ready")].status`, `.a[0]`, `.a[*]`) finds.
pub fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps(path) {
        found = found.into_iter().flat_map(|v| follow(v, &step)).collect();
    }
    found.retain(|v| !v.is_null());
    found
}

#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter(String, String),
}

fn follow<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    let items = || value.as_array().map_or(&[][..], Vec::as_slice);
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(i) => {
            let length = i64::try_from(items().len()).unwrap_or(0);
            let i = if *i < 0 { length + i } else { *i };
            usize::try_from(i).ok().and_then(|i| items().get(i)).into_iter().collect()
        }
        Step::All => match value {
            Value::Object(map) => map.values().collect(),
            _ => items().iter().collect(),
        },
        Step::Filter(path, wanted) => {
            let same = |v: &&Value| {
                let found = find(v, path);
                found
                    .first()
                    .is_some_and(|f| f.as_str().map_or_else(|| f.to_string(), str::to_owned) == *wanted)
            };
            items().iter().filter(same).collect()
        }
    }
}

fn steps(path: &str) -> Vec<Step> {
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    let mut out = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = closing(after) else { break };
            out.push(bracket(&after[..end]));
            rest = &after[end + 1..];
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (name, tail) = field(rest);
        if name == "*" {
            out.push(Step::All);
        } else if !name.is_empty() {
            out.push(Step::Field(name));
        }
        if tail.len() == rest.len() && !tail.starts_with('[') {
            break;
        }
        rest = tail;
    }
    out
}

/// The end of a bracket that may hold quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(i),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

/// A field name up to `.` or `[`; a backslash makes the next character part of it.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '.' | '[' => return (name, &text[i..]),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    (name, "")
}

fn bracket(inner: &str) -> Step {
    let unquote = |s: &str| s.trim().trim_matches(|c| c == '"' || c == '\'').to_owned();
    if inner == "*" {
        return Step::All;
    }
    if let Ok(i) = inner.parse() {
        return Step::Index(i);
    }
    let filter = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')'));
    match filter.and_then(|f| f.split_once("==")) {
        Some((path, wanted)) => Step::Filter(path.trim().trim_start_matches('@').to_owned(), unquote(wanted)),
        None => Step::Field(unquote(inner)),
    }
}
