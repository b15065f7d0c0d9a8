//! From a request body to a checked object: JSON or YAML, the right kind, known fields, right types.

use super::super::Call;
use crate::error::{ApiError, Result};
use crate::object::text;
use crate::protobuf;
use crate::schema::check::{Findings, check};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;

/// Decodes the body of a create or update.
pub fn decode(call: &Call, body: &Bytes) -> Result<Value> {
    let mut duplicates = Vec::new();
    let value = parse(&call.headers, body, &mut duplicates)?;
    finish(call, value, duplicates)
}

/// Reads a body of any supported type as a JSON value, without looking at what it is; an empty one is `{}`.
pub fn plain(headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    parse(headers, body, &mut Vec::new())
}

const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

fn parse(headers: &HeaderMap, body: &Bytes, duplicates: &mut Vec<String>) -> Result<Value> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim() {
        protobuf::MEDIA_TYPE => protobuf::decode(body).map_err(|e| ApiError::bad_request(e.to_string())),
        "" | "application/json" | "text/plain" => parse_json(body, duplicates),
        "application/yaml" | "text/yaml" => yaml_serde::from_slice(body)
            .map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: {e}"))),
        _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
    }
}

/// Checks an object that a patch made.
pub fn checked(call: &Call, value: Value) -> Result<Value> {
    finish(call, value, Vec::new())
}

fn finish(call: &Call, mut value: Value, duplicates: Vec<String>) -> Result<Value> {
    let resource = &call.resource;
    if !value.is_object() {
        return Err(ApiError::bad_request("the request body must be a JSON object"));
    }
    check_type(call, &mut value)?;
    let findings = check(resource.schema.node(), &mut value, true);
    // Custom resources are told about wrong types by validation, with the field.
    if resource.custom.is_none() {
        refuse_wrong_type(call, &findings)?;
    }
    report(call, findings, duplicates)?;
    Ok(value)
}

fn check_type(call: &Call, value: &mut Value) -> Result<()> {
    let resource = &call.resource;
    let wanted = resource.api_version();
    let found = text(value, "/apiVersion").to_owned();
    let kind = text(value, "/kind").to_owned();
    if !found.is_empty() && found != wanted {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: the kind in the data does not match the path",
            resource.version, resource.kind
        )));
    }
    let map = crate::object::as_map(value);
    map.insert("apiVersion".into(), wanted.into());
    map.insert("kind".into(), resource.kind.clone().into());
    // Kind and apiVersion come first, as in the real server's output.
    let mut ordered = Map::new();
    for key in ["kind", "apiVersion", "metadata"] {
        if let Some(v) = map.shift_remove(key) {
            ordered.insert(key.into(), v);
        }
    }
    ordered.extend(std::mem::take(map));
    *map = ordered;
    Ok(())
}

fn refuse_wrong_type(call: &Call, findings: &Findings) -> Result<()> {
    let Some((path, found, wanted)) = &findings.wrong_type else { return Ok(()) };
    let resource = &call.resource;
    let clean = strip_indexes(path);
    let go_type = if wanted == "array" || wanted == "object" {
        format!("the {wanted} wanted there")
    } else {
        format!("type {wanted}")
    };
    Err(ApiError::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {found} into Go struct field {}.{clean} of {go_type}",
        resource.kind, resource.version, resource.kind, resource.kind
    )))
}

fn strip_indexes(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

/// Unknown and duplicate fields: refused, warned of, or ignored, as `fieldValidation` says.
fn report(call: &Call, findings: Findings, duplicates: Vec<String>) -> Result<()> {
    let unknown = findings.unknown.into_iter().map(|f| format!("unknown field {f:?}"));
    let texts: Vec<String> =
        unknown.chain(duplicates.into_iter().map(|f| format!("duplicate field {f:?}"))).collect();
    match call.query.get("fieldValidation") {
        "Strict" if !texts.is_empty() => Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            call.resource.kind,
            call.resource.version,
            call.resource.kind,
            texts.join(", ")
        ))),
        "Ignore" | "Strict" => Ok(()),
        "" | "Warn" => {
            texts.into_iter().for_each(|t| call.warn(t));
            Ok(())
        }
        other => {
            let error = crate::error::FieldError::not_supported(
                "fieldValidation",
                &other.into(),
                &["Ignore", "Strict", "Warn"],
            );
            Err(ApiError::invalid("CreateOptions", "meta.k8s.io", "", &[error]))
        }
    }
}

fn parse_json(body: &[u8], duplicates: &mut Vec<String>) -> Result<Value> {
    let found = RefCell::new(Vec::new());
    let seed = Noting { path: String::new(), duplicates: &found };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|v| deserializer.end().map(|()| v))
        .map_err(|e| ApiError::bad_request(format!("couldn't get version/kind; json parse error: {e}")))?;
    *duplicates = found.into_inner();
    Ok(value)
}

/// Deserializes a JSON value and notes keys that occur twice (plain serde_json keeps the last in silence).
struct Noting<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Noting<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Noting<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(Noting {
            path: format!("{}[{}]", self.path, out.len()),
            duplicates: self.duplicates,
        })? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let value = map.next_value_seed(Noting { path: path.clone(), duplicates: self.duplicates })?;
            if out.insert(key, value).is_some() {
                self.duplicates.borrow_mut().push(path);
            }
        }
        Ok(Value::Object(out))
    }
}
