//! Decoding Kubernetes' protobuf: what newer `kubectl`s send for built-in kinds.
//!
//! The server itself always answers in JSON, which every client accepts. A body is the magic `k8s\0` and an envelope
//! (`apiVersion`, `kind`, raw message); the message is read by a table of field numbers.

mod wire;

use base64::Engine;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;
use wire::{Field, Reader};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
/// Messages nested deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No magic number, or no envelope.
    #[error("the body is not a Kubernetes protobuf message")]
    NotKubernetes,
    /// The wire format is broken.
    #[error("the protobuf message is truncated or malformed")]
    Malformed,
    /// No table for the kind.
    #[error("kind {0} cannot be sent as protobuf to the local API server; send JSON")]
    UnknownKind(String),
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    list: bool,
    inline: bool,
    kind: &'static str,
}

type Table = HashMap<&'static str, HashMap<u32, Row>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let lines = include_str!("protobuf/messages.txt").lines().filter(|l| !l.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(message, rows)| (message, rows.split(", ").filter_map(row).collect()))
        .collect()
});

fn row(text: &'static str) -> Option<(u32, Row)> {
    let mut parts = text.split(' ');
    let (number, name, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let (list, inline) = (number.ends_with('*'), number.ends_with('!'));
    Some((number.trim_end_matches(['*', '!']).parse().ok()?, Row { name, list, inline, kind }))
}

/// Zeros that say something: fields that are absent unless set. Everywhere else protobuf's zeros mean "not set".
const KEEPS_ZERO: &[&str] = &[
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "backoffLimit",
    "blockOwnerDeletion",
    "completions",
    "controller",
    "defaultMode",
    "enableServiceLinks",
    "expirationSeconds",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "minReplicas",
    "mode",
    "optional",
    "parallelism",
    "partition",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "shareProcessNamespace",
    "successfulJobsHistoryLimit",
    "suspend",
    "terminationGracePeriodSeconds",
    "ttlSecondsAfterFinished",
    "value",
    "allowed",
    "ready",
];

/// Decodes a body into the object's JSON.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(DecodeError::NotKubernetes)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(envelope) {
        match field? {
            (1, Field::Bytes(meta)) => {
                for field in Reader::new(meta) {
                    match field? {
                        (1, Field::Bytes(b)) => api_version = string(b)?,
                        (2, Field::Bytes(b)) => kind = string(b)?,
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = message_name(&api_version, &kind);
    if !TABLE.contains_key(message.as_str()) {
        return Err(DecodeError::UnknownKind(kind));
    }
    let mut out = Map::new();
    out.insert("kind".into(), kind.into());
    out.insert("apiVersion".into(), api_version.into());
    self::message(&message, raw, 0, &mut out)?;
    Ok(Value::Object(out))
}

/// `apps/v1` and `Deployment` make `apps.v1.Deployment`.
fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".into();
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or(group);
    format!("{group}.{version}.{kind}")
}

fn string(bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Malformed)
}

fn message(name: &str, bytes: &[u8], depth: usize, out: &mut Map<String, Value>) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Malformed);
    }
    // A message without a table belongs to a feature that is not offered: its fields are skipped.
    let Some(rows) = TABLE.get(name) else { return Ok(()) };
    for field in Reader::new(bytes) {
        let (number, field) = field?;
        let Some(row) = rows.get(&number) else { continue };
        if row.inline {
            if let Field::Bytes(inner) = field {
                message(row.kind, inner, depth + 1, out)?;
            }
            continue;
        }
        if let Some(entry) = row.kind.strip_prefix('{') {
            let (key, value) = entry_of(entry.trim_end_matches('}'), &field, depth)?;
            let map = out.entry(row.name).or_insert_with(|| json!({}));
            crate::object::as_map(map).insert(key, value);
            continue;
        }
        let value = value(row.kind, &field, depth)?;
        if row.list {
            if let Value::Array(items) = out.entry(row.name).or_insert_with(|| json!([])) {
                items.push(value);
            }
        } else if says_something(row.name, &value) {
            out.insert(row.name.to_owned(), value);
        }
    }
    Ok(())
}

fn says_something(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(s) => !s.is_empty(),
        Value::Bool(false) => KEEPS_ZERO.contains(&name),
        Value::Number(n) if n.as_i64() == Some(0) => KEEPS_ZERO.contains(&name),
        _ => true,
    }
}

fn entry_of(kind: &str, field: &Field<'_>, depth: usize) -> Result<(String, Value), DecodeError> {
    let Field::Bytes(bytes) = field else { return Err(DecodeError::Malformed) };
    let (mut key, mut out) = (String::new(), json!(""));
    for field in Reader::new(bytes) {
        match field? {
            (1, Field::Bytes(b)) => key = string(b)?,
            (2, field) => out = value(kind, &field, depth)?,
            _ => {}
        }
    }
    Ok((key, out))
}

fn value(kind: &str, field: &Field<'_>, depth: usize) -> Result<Value, DecodeError> {
    match (kind, field) {
        ("s", Field::Bytes(b)) => Ok(string(b)?.into()),
        ("i", Field::Varint(n)) => Ok(n.cast_signed().into()),
        ("b", Field::Varint(n)) => Ok((*n != 0).into()),
        ("d", Field::Fixed64(n)) => Ok(json!(f64::from_bits(*n))),
        ("y", Field::Bytes(b)) => Ok(base64::engine::general_purpose::STANDARD.encode(b).into()),
        ("Q", Field::Bytes(b)) => first_string(b),
        ("I", Field::Bytes(b)) => int_or_string(b),
        ("T" | "U", Field::Bytes(b)) => time(b, kind == "U"),
        ("R" | "F", Field::Bytes(b)) => raw_json(b),
        (name, Field::Bytes(b)) if name.contains('.') => {
            let mut out = Map::new();
            message(name, b, depth + 1, &mut out)?;
            if name.ends_with(".ExtraValue") {
                return Ok(out.remove("items").unwrap_or_else(|| json!([])));
            }
            Ok(Value::Object(out))
        }
        _ => Err(DecodeError::Malformed),
    }
}

fn first_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    for field in Reader::new(bytes) {
        if let (1, Field::Bytes(b)) = field? {
            return Ok(string(b)?.into());
        }
    }
    Ok(json!("0"))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_string, mut number, mut text) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, Field::Varint(n)) => is_string = n == 1,
            (2, Field::Varint(n)) => number = n.cast_signed(),
            (3, Field::Bytes(b)) => text = string(b)?,
            _ => {}
        }
    }
    Ok(if is_string { text.into() } else { number.into() })
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, DecodeError> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, Field::Varint(n)) => seconds = Some(n.cast_signed()),
            (2, Field::Varint(n)) => nanos = i32::try_from(n.cast_signed()).unwrap_or(0),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| DecodeError::Malformed)?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(time.strftime(format).to_string().into())
}

fn raw_json(bytes: &[u8]) -> Result<Value, DecodeError> {
    for field in Reader::new(bytes) {
        if let (1, Field::Bytes(b)) = field? {
            return serde_json::from_slice(b).map_err(|_| DecodeError::Malformed);
        }
    }
    Ok(json!({}))
}

#[cfg(test)]
mod tests;
