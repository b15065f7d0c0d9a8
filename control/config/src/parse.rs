//! From JSON to a typed object: strict for what a user writes, lenient for what is stored already.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::any::build;
use crate::check::{Checker, Dialect, Findings};
use crate::diagnostic::FieldError;
use crate::path::Path;
use crate::shape::Shape;
use crate::{AnyObject, Kind, Meta, Object, Spec, k8s, suggest};

/// An object and what was odd about it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The object.
    pub object: AnyObject,
    /// Fields that its kind does not have; they are left out.
    pub unknown: Vec<FieldError>,
    /// Fields that will go away; they are kept.
    pub deprecated: Vec<FieldError>,
}

/// Parses what a user writes. An unknown field is an error.
///
/// # Errors
/// Every field that is unknown, of a wrong type or without a meaning, each with its path and a cure.
pub fn parse(value: &Value) -> Result<AnyObject, Vec<FieldError>> {
    match read(value) {
        Ok(parsed) if parsed.unknown.is_empty() => Ok(parsed.object),
        Ok(parsed) => Err(parsed.unknown),
        Err(errors) => Err(errors),
    }
}

/// Parses what is stored already, perhaps written by a newer version: unknown fields are warnings.
///
/// # Errors
/// Every field of a wrong type or without a meaning.
pub fn parse_lenient(value: &Value) -> Result<(AnyObject, Vec<FieldError>), Vec<FieldError>> {
    read(value).map(|parsed| (parsed.object, parsed.unknown)).map_err(|errors| {
        let (typed, unknown): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| error.message != UNKNOWN);
        if typed.is_empty() { unknown } else { typed }
    })
}

const UNKNOWN: &str = "unknown field";

/// Parses and tells apart what is wrong, unknown and deprecated.
///
/// # Errors
/// Every field of a wrong type or without a meaning; unknown fields stand among them, so that one run shows all.
pub fn read(value: &Value) -> Result<Parsed, Vec<FieldError>> {
    let object = value.as_object().ok_or_else(|| {
        vec![FieldError::new(Path::root(), "expected an object with apiVersion, kind, metadata and spec")]
    })?;
    build(kind_of(object)?, value)
}

/// The kind of an object.
fn kind_of(object: &Map<String, Value>) -> Result<Kind, Vec<FieldError>> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let missing: Vec<FieldError> = [("apiVersion", api_version), ("kind", kind)]
        .into_iter()
        .filter(|(_, text)| text.is_empty())
        .map(|(key, _)| FieldError::new(Path::root().key(key), "missing").hint("every object names it"))
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    Kind::of(api_version, kind).ok_or_else(|| vec![unknown_kind(api_version, kind)])
}

fn unknown_kind(api_version: &str, kind: &str) -> FieldError {
    let names: Vec<&str> = Kind::all().map(Kind::name).collect();
    if let Some(known) = Kind::all().find(|known| known.name() == kind) {
        let info = known.info();
        let versions: Vec<String> = info
            .versions
            .iter()
            .map(|version| {
                if info.group.is_empty() {
                    (*version).to_owned()
                } else {
                    format!("{}/{version}", info.group)
                }
            })
            .collect();
        return FieldError::new(
            Path::root().key("apiVersion"),
            format!("{kind} has no version {api_version:?}"),
        )
        .hint(format!("write {}", versions.join(" or ")));
    }
    let error = FieldError::new(
        Path::root().key("kind"),
        format!("{kind:?} in {api_version:?} is no kind of the mesh"),
    );
    match suggest::nearest(kind, &names) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error,
    }
}

/// Parses an object of one of Istio's kinds.
pub(crate) fn istio<S: Spec>(value: &Value) -> Result<Parsed, Vec<FieldError>>
where
    AnyObject: From<Object<S>>,
{
    let empty = Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let mut findings = Findings::default();
    for name in object.keys() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status") {
            let error = FieldError::new(Path::root().key(name), UNKNOWN);
            findings.unknown.push(error.hint("known here: apiVersion, kind, metadata, spec, status"));
        }
    }
    let meta = metadata(object.get("metadata").unwrap_or(&Value::Null), &mut findings);
    let spec =
        checked::<S>(object.get("spec").unwrap_or(&Value::Null), Path::root().key("spec"), &mut findings);
    let status = object.get("status").filter(|status| !status.is_null()).cloned();
    match (meta, spec) {
        (Some(meta), Some(spec)) if findings.errors.is_empty() => Ok(Parsed {
            object: Object { meta, spec, status }.into(),
            unknown: findings.unknown,
            deprecated: findings.deprecated,
        }),
        _ => {
            findings.errors.append(&mut findings.unknown);
            Err(findings.errors)
        }
    }
}

fn checked<S: Spec>(value: &Value, path: Path, findings: &mut Findings) -> Option<S> {
    let mut checker = Checker::new(Dialect::Kubernetes, path.clone());
    let checked = match (Shape::of_kind(S::KIND), value) {
        (_, Value::Null) | (None, _) => Some(Value::Object(Map::new())),
        (Some(shape), value) => checker.check(shape, value),
    };
    findings.errors.append(&mut checker.findings.errors);
    findings.unknown.append(&mut checker.findings.unknown);
    findings.deprecated.append(&mut checker.findings.deprecated);
    match serde_json::from_value(checked?) {
        Ok(spec) => Some(spec),
        Err(error) => {
            findings.errors.push(FieldError::new(path, error.to_string()));
            None
        }
    }
}

fn metadata(value: &Value, findings: &mut Findings) -> Option<Meta> {
    let path = Path::root().key("metadata");
    let meta: k8s::ObjectMeta = match serde_json::from_value(value.clone()) {
        Ok(meta) => meta,
        Err(_) if value.is_null() => {
            findings.errors.push(FieldError::new(path, "missing").hint("write metadata.name"));
            return None;
        }
        Err(error) => {
            let texts = not_texts(&json!({"metadata": value}));
            if texts.is_empty() {
                findings.errors.push(FieldError::new(path, error.to_string()));
            }
            findings.errors.extend(texts);
            return None;
        }
    };
    if meta.name.as_deref().unwrap_or_default().is_empty() && meta.generate_name.is_none() {
        findings.errors.push(FieldError::new(path.key("name"), "missing").hint("every object has a name"));
    }
    unknown_fields(value, &meta, path, &mut findings.unknown);
    Some(Meta::from(&meta))
}

/// Parses an object of one of Kubernetes' kinds.
pub(crate) fn kubernetes<T>(value: &Value) -> Result<Parsed, Vec<FieldError>>
where
    T: DeserializeOwned + Serialize,
    AnyObject: From<T>,
{
    let typed: T = match serde_json::from_value(value.clone()) {
        Ok(typed) => typed,
        Err(error) => {
            let texts = not_texts(value);
            return Err(if texts.is_empty() {
                vec![FieldError::new(Path::root(), error.to_string())]
            } else {
                texts
            });
        }
    };
    let mut unknown = Vec::new();
    unknown_fields(value, &typed, Path::root(), &mut unknown);
    Ok(Parsed { object: typed.into(), unknown, deprecated: Vec::new() })
}

/// Labels and annotations that YAML took for something else than texts, such as `yes` or `1`.
fn not_texts(value: &Value) -> Vec<FieldError> {
    let mut found = Vec::new();
    for map in ["labels", "annotations"] {
        let path = Path::root().key("metadata").key(map);
        let entries = value.pointer(&path.pointer()).and_then(Value::as_object);
        for (key, value) in entries.into_iter().flatten().filter(|(_, value)| !value.is_string()) {
            let error = FieldError::new(path.key(key), format!("expected a text, found {value}"));
            found.push(error.hint("put it in quotes"));
        }
    }
    found
}

/// Finds fields that a type does not have: what goes in and does not come out again.
fn unknown_fields<T: Serialize>(input: &Value, typed: &T, path: Path, out: &mut Vec<FieldError>) {
    if let Ok(output) = serde_json::to_value(typed) {
        lost_fields(input, &output, &path, out);
    }
}

fn lost_fields(input: &Value, output: &Value, path: &Path, out: &mut Vec<FieldError>) {
    match (input, output) {
        (Value::Object(input), Value::Object(output)) => {
            for (name, value) in input {
                match output.get(name) {
                    Some(kept) => lost_fields(value, kept, &path.key(name), out),
                    None if value.is_null() => {}
                    None => out.push(FieldError::new(path.key(name), UNKNOWN)),
                }
            }
        }
        (Value::Array(input), Value::Array(output)) => {
            for (position, (value, kept)) in input.iter().zip(output).enumerate() {
                lost_fields(value, kept, &path.index(position), out);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
