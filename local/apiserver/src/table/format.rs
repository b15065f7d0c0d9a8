//! Small pieces of cells.

use crate::object::{list, text};
use crate::selector::LabelSelector;
use serde_json::{Value, json};

/// What kubectl shows for "no value".
pub const NONE: &str = "<none>";
/// What kubectl shows for "not known".
pub const UNKNOWN: &str = "<unknown>";

/// A time span as kubectl writes it: `5s`, `3m20s`, `2h`, `5d3h`.
pub fn span(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let s = seconds.max(0);
    let (m, h, d) = (s / 60, s / 3600, s / 86400);
    let two = |a: i64, ua: &str, b: i64, ub: &str| {
        if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") }
    };
    match () {
        () if s < 120 => format!("{s}s"),
        () if m < 10 => two(m, "m", s % 60, "s"),
        () if m < 180 => format!("{m}m"),
        () if h < 8 => two(h, "h", m % 60, "m"),
        () if h < 48 => format!("{h}h"),
        () if h < 192 => two(d, "d", h % 24, "h"),
        () if h < 24 * 365 * 2 => format!("{d}d"),
        () if h < 24 * 365 * 8 => two(d / 365, "y", d % 365, "d"),
        () => format!("{}y", d / 365),
    }
}

/// Seconds since an RFC 3339 time.
pub fn seconds_since(time: &str) -> Option<i64> {
    let then: jiff::Timestamp = time.parse().ok()?;
    Some(jiff::Timestamp::now().as_second() - then.as_second())
}

/// The time since a timestamp, or `<unknown>`.
pub fn since(time: &str) -> String {
    seconds_since(time).map_or_else(|| UNKNOWN.to_owned(), span)
}

/// The AGE of an object.
pub fn age(object: &Value) -> Value {
    json!(since(text(object, "/metadata/creationTimestamp")))
}

/// CREATED AT, for kinds without columns of their own.
pub fn created(object: &Value) -> Value {
    json!(text(object, "/metadata/creationTimestamp"))
}

/// The text at a pointer, or `<none>`.
pub fn or_none(object: &Value, pointer: &str) -> Value {
    match text(object, pointer) {
        "" => json!(NONE),
        s => json!(s),
    }
}

/// The integer at a pointer, 0 if absent.
pub fn number(object: &Value, pointer: &str) -> i64 {
    crate::object::int(object, pointer).unwrap_or(0)
}

/// A label selector in its query form.
pub fn selector(object: &Value, pointer: &str) -> Value {
    let found = object.pointer(pointer);
    let selector = LabelSelector::from_object(found).to_query();
    json!(if selector.is_empty() { NONE.to_owned() } else { selector })
}

/// A plain map as `a=b,c=d`.
pub fn pairs(object: &Value, pointer: &str) -> Value {
    let pairs: Vec<String> = crate::object::map(object, pointer)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    json!(if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") })
}

/// CONTAINERS and IMAGES of a pod spec.
pub fn containers(object: &Value, pointer: &str) -> [Value; 2] {
    let column = |field: &str| {
        let all: Vec<&str> = list(object, pointer).iter().map(|c| text(c, field)).collect();
        json!(all.join(","))
    };
    [column("/name"), column("/image")]
}
