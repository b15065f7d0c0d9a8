//! Values by themselves: what a scalar means, how mappings merge, how far a value extends.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::build::Failure;
use super::positions::Place;
use super::scalar;

/// How much a value adds to the document that it is put into.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// Values, itself included.
    pub nodes: usize,
    /// Levels of mappings and lists; 0 for a scalar.
    pub depth: usize,
}

impl Extent {
    pub(super) const SCALAR: Extent = Extent { nodes: 1, depth: 0 };

    /// Of a finished value. What is finished is never deeper than the budget, so this may call itself.
    pub(super) fn of(value: &Value) -> Extent {
        let around = |inner: &mut dyn Iterator<Item = &Value>| {
            inner.map(Extent::of).fold(Extent { nodes: 1, depth: 1 }, |sum, one| Extent {
                nodes: sum.nodes.saturating_add(one.nodes),
                depth: sum.depth.max(one.depth + 1),
            })
        };
        match value {
            Value::Array(items) => around(&mut items.iter()),
            Value::Object(entries) => around(&mut entries.values()),
            _ => Extent::SCALAR,
        }
    }
}

/// The JSON pointer of a field.
pub(super) fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// What a scalar means.
pub(super) fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.handle == "tag:yaml.org,2002:" => scalar::tagged(&tag.suffix, text),
        Some(tag) if tag.suffix.is_empty() || (tag.handle.is_empty() && tag.suffix == "!") => {
            Ok(Value::String(text.to_owned()))
        }
        Some(tag) => Err(format!("tag {}{} is not known; remove it", tag.handle, tag.suffix)),
        None if style == ScalarStyle::Plain => Ok(scalar::plain(text)),
        None => Ok(Value::String(text.to_owned())),
    }
}

/// `<<: *anchor`: what stands in the mapping itself wins.
pub(super) fn merge(entries: &mut Map<String, Value>, source: Value, place: Place) -> Result<(), Failure> {
    match source {
        Value::Object(fields) => {
            for (name, value) in fields {
                entries.entry(name).or_insert(value);
            }
            Ok(())
        }
        Value::Array(sources) => sources.into_iter().try_for_each(|source| merge(entries, source, place)),
        _ => Err((place, "`<<` merges mappings only".to_owned())),
    }
}
