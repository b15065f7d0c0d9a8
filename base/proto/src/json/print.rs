//! Messages as JSON. The library could do it, but it gives up at an `Any` of a type it does not know, and one
//! foreign extension must not hide the rest of a dump; and its maps come out in random order.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, SerializeOptions, Value as Field,
};
use serde_json::{Map, Value as Json, json};

use super::{JsonError, Style};
use crate::any::message_name;
use crate::structs;

pub(super) fn message_to_json(message: &DynamicMessage, style: Style) -> Result<Json, JsonError> {
    let name = message.descriptor().full_name().to_owned();
    if name == "google.protobuf.Any" {
        return any(message, style);
    }
    match name.as_str() {
        "google.protobuf.Struct" => {
            return structure(message).map(|value| Json::Object(structs::to_map(&value)));
        }
        "google.protobuf.Value" => return structure(message).map(|value| structs::to_json(&value)),
        // Other well-known types have a JSON form of their own and hold neither maps nor messages.
        _ if name.starts_with("google.protobuf.") => return whole(message, &name),
        _ => {}
    }
    let mut object = Map::new();
    for (field, value) in message.fields() {
        let key = if style.proto_names { field.name() } else { field.json_name() };
        object.insert(key.to_owned(), field_to_json(&field, value, style)?);
    }
    Ok(Json::Object(object))
}

fn any(message: &DynamicMessage, style: Style) -> Result<Json, JsonError> {
    let url = message.get_field_by_name("type_url");
    let url = url.as_deref().and_then(Field::as_str).unwrap_or_default().to_owned();
    let bytes = message.get_field_by_name("value");
    let bytes = bytes.as_deref().and_then(Field::as_bytes).cloned().unwrap_or_default();
    let inner = match super::decode(message_name(&url), &bytes) {
        Ok(inner) => message_to_json(&inner, style)?,
        Err(_) => return Ok(json!({"@type": url, "value": STANDARD.encode(&bytes)})),
    };
    let mut object = Map::new();
    object.insert("@type".to_owned(), Json::String(url));
    match inner {
        Json::Object(fields) => object.extend(fields),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Ok(Json::Object(object))
}

fn structure<M: prost::Message + prost::Name + Default>(message: &DynamicMessage) -> Result<M, JsonError> {
    use prost_reflect::prost::Message;
    M::decode(message.encode_to_vec().as_slice())
        .map_err(|source| JsonError::Decode { message: M::full_name(), source })
}

fn whole(message: &DynamicMessage, name: &str) -> Result<Json, JsonError> {
    message
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|error| JsonError::Json { message: name.to_owned(), reason: error.to_string() })
}

fn field_to_json(field: &FieldDescriptor, value: &Field, style: Style) -> Result<Json, JsonError> {
    match value {
        Field::List(values) => values.iter().map(|value| scalar(&field.kind(), value, style)).collect(),
        Field::Map(entries) => {
            let kind = field.kind();
            let kind = kind.as_message().map_or(kind.clone(), |entry| entry.map_entry_value_field().kind());
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value)).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let mut object = Map::new();
            for (key, value) in entries {
                object.insert(key, scalar(&kind, value, style)?);
            }
            Ok(Json::Object(object))
        }
        value => scalar(&field.kind(), value, style),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn scalar(kind: &Kind, value: &Field, style: Style) -> Result<Json, JsonError> {
    Ok(match value {
        Field::Bool(value) => Json::Bool(*value),
        Field::I32(value) => json!(value),
        Field::U32(value) => json!(value),
        Field::I64(value) => Json::String(value.to_string()),
        Field::U64(value) => Json::String(value.to_string()),
        Field::F32(value) => float(f64::from(*value)),
        Field::F64(value) => float(*value),
        Field::String(value) => Json::String(value.clone()),
        Field::Bytes(value) => Json::String(STANDARD.encode(value)),
        Field::EnumNumber(number) => enum_name(kind, *number),
        Field::Message(message) => message_to_json(message, style)?,
        Field::List(_) | Field::Map(_) => Json::Null,
    })
}

fn float(value: f64) -> Json {
    let word = || match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    serde_json::Number::from_f64(value).map_or_else(|| Json::String(word().to_owned()), Json::Number)
}

fn enum_name(kind: &Kind, number: i32) -> Json {
    let value = kind.as_enum().and_then(|kind| kind.get_value(number));
    value.map_or(json!(number), |value| Json::String(value.name().to_owned()))
}
