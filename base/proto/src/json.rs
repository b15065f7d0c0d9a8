//! Canonical proto-JSON of every message we know, by descriptors.
//!
//! The descriptor pool takes some milliseconds and about 15 MB, so it is built at the first use. Who reads one message and then
//! no more for a long time, as a proxy does with its bootstrap and its admin interface with a dump, gives it back ([`forget`]).

mod print;

use std::io::Read;
use std::sync::{PoisonError, RwLock};

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::Value;

use crate::any::message_name;
use crate::google::protobuf::Any;

/// Descriptors of `envoy-types`, made by `examples/descriptors.rs`.
static ENVOY: &[u8] = include_bytes!("../descriptors.bin.z");
/// Descriptors of our own few files, made by `build.rs`.
static OWN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/own_descriptors.bin"));

/// Why a message could not be turned into JSON or back.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// No descriptor under this name.
    #[error("no descriptor for message {0}: it belongs to none of the protocols that this build knows")]
    Unknown(String),
    /// The JSON does not fit the message.
    #[error("JSON of {message}: {reason}")]
    Json {
        /// Full message name.
        message: String,
        /// What does not fit, with line and column or field.
        reason: String,
    },
    /// The bytes do not fit the message.
    #[error("malformed {message}: {source}")]
    Decode {
        /// Full message name.
        message: String,
        /// What the decoder found.
        source: prost::DecodeError,
    },
    /// The descriptors built into this program do not load.
    #[error("built-in descriptors: {0}")]
    Descriptors(String),
}

/// How JSON is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// `load_assignment` as in the `.proto` (Envoy's admin interface, `istioctl`) instead of `loadAssignment`.
    pub proto_names: bool,
}

/// The pool while it is loaded.
static POOL: RwLock<Option<DescriptorPool>> = RwLock::new(None);

/// The pool of all descriptors we know; a cheap handle to it.
///
/// # Errors
/// Only when this program was built with broken descriptors.
pub fn pool() -> Result<DescriptorPool, JsonError> {
    if let Some(pool) = &*POOL.read().unwrap_or_else(PoisonError::into_inner) {
        return Ok(pool.clone());
    }
    let mut loaded = POOL.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = &*loaded {
        return Ok(pool.clone());
    }
    let pool = load().map_err(JsonError::Descriptors)?;
    *loaded = Some(pool.clone());
    Ok(pool)
}

/// Gives the memory of the pool back once nobody uses it; it is loaded again when it is needed again.
pub fn forget() {
    *POOL.write().unwrap_or_else(PoisonError::into_inner) = None;
}

fn load() -> Result<DescriptorPool, String> {
    let mut envoy = Vec::new();
    flate2::read::ZlibDecoder::new(ENVOY).read_to_end(&mut envoy).map_err(|error| error.to_string())?;
    let mut pool = DescriptorPool::decode(envoy.as_slice()).map_err(|error| error.to_string())?;
    pool.decode_file_descriptor_set(OWN).map_err(|error| error.to_string())?;
    Ok(pool)
}

/// `message` as JSON with the field names of proto-JSON (`camelCase`).
///
/// # Errors
/// See [`JsonError`]; a message of this crate never fails.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    to_json_as(message, Style::default())
}

/// `message` as JSON in a chosen style.
///
/// # Errors
/// As [`to_json`].
pub fn to_json_as<M: Message + Name>(message: &M, style: Style) -> Result<Value, JsonError> {
    bytes_to_json(&M::full_name(), &message.encode_to_vec(), style)
}

/// An `Any` as JSON: its message with an `@type`. When the type is unknown: `{"@type": …, "value": base64}`.
///
/// # Errors
/// When the bytes are not a message of the type named.
pub fn any_to_json(any: &Any) -> Result<Value, JsonError> {
    any_to_json_as(any, Style::default())
}

/// [`any_to_json`] in a chosen style.
///
/// # Errors
/// As [`any_to_json`].
pub fn any_to_json_as(any: &Any, style: Style) -> Result<Value, JsonError> {
    to_json_as(any, style)
}

/// Encoded bytes of the message called `full_name` as JSON.
///
/// # Errors
/// When the name is unknown or the bytes do not decode.
pub fn bytes_to_json(full_name: &str, bytes: &[u8], style: Style) -> Result<Value, JsonError> {
    print::message_to_json(&decode(full_name, bytes)?, style)
}

/// A message from its JSON. Both spellings of field names are accepted, unknown fields are refused.
///
/// # Errors
/// When the JSON does not fit the message; the reason names the field.
pub fn from_json<M: Message + Name + Default>(json: &Value) -> Result<M, JsonError> {
    let bytes = json_to_bytes(&M::full_name(), json)?;
    M::decode(bytes.as_slice()).map_err(|source| JsonError::Decode { message: M::full_name(), source })
}

/// A message from text in JSON, YAML or whatever a deserializer reads. As [`from_json`]; where the deserializer knows
/// lines, the reason names the line.
///
/// # Errors
/// When the text does not fit the message.
pub fn from_deserializer<'de, M, D>(deserializer: D) -> Result<M, JsonError>
where
    M: Message + Name + Default,
    D: serde::Deserializer<'de>,
{
    let bytes = encoded(&M::full_name(), deserializer)?;
    M::decode(bytes.as_slice()).map_err(|source| JsonError::Decode { message: M::full_name(), source })
}

/// Encoded bytes of the message called `full_name` from its JSON.
///
/// # Errors
/// When the name is unknown or the JSON does not fit the message.
pub fn json_to_bytes(full_name: &str, json: &Value) -> Result<Vec<u8>, JsonError> {
    encoded(full_name, json.clone())
}

fn encoded<'de, D: serde::Deserializer<'de>>(full_name: &str, json: D) -> Result<Vec<u8>, JsonError> {
    let descriptor = descriptor(full_name)?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor, json, &options)
        .map(|message| message.encode_to_vec())
        .map_err(|error| JsonError::Json { message: full_name.to_owned(), reason: error.to_string() })
}

/// Is there a descriptor behind this type URL (or full message name)?
pub fn knows(type_url: &str) -> bool {
    descriptor(message_name(type_url)).is_ok()
}

fn descriptor(full_name: &str) -> Result<prost_reflect::MessageDescriptor, JsonError> {
    pool()?.get_message_by_name(full_name).ok_or_else(|| JsonError::Unknown(full_name.to_owned()))
}

fn decode(full_name: &str, bytes: &[u8]) -> Result<DynamicMessage, JsonError> {
    DynamicMessage::decode(descriptor(full_name)?, bytes)
        .map_err(|source| JsonError::Decode { message: full_name.to_owned(), source })
}

#[cfg(test)]
mod tests;
