//! `google.protobuf.Struct` to and from `serde_json::Value`.

use serde_json::{Map, Number, Value as Json};

use crate::google::protobuf::value::Kind;
use crate::google::protobuf::{ListValue, Struct, Value};

/// JSON object → `Struct`.
pub fn from_map(map: &Map<String, Json>) -> Struct {
    Struct { fields: map.iter().map(|(key, value)| (key.clone(), from_json(value))).collect() }
}

/// JSON → protobuf value. Numbers become doubles, as in proto-JSON.
pub fn from_json(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value.clone()),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(from_json).collect() }),
        Json::Object(map) => Kind::StructValue(from_map(map)),
    };
    Value { kind: Some(kind) }
}

/// `Struct` → JSON object, with sorted keys.
pub fn to_map(value: &Struct) -> Map<String, Json> {
    let mut entries: Vec<_> = value.fields.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    entries.into_iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
}

/// Protobuf value → JSON. Whole numbers come out without a fraction.
pub fn to_json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(value)) => Json::String(value.clone()),
        Some(Kind::ListValue(list)) => Json::Array(list.values.iter().map(to_json).collect()),
        Some(Kind::StructValue(value)) => Json::Object(to_map(value)),
    }
}

/// Doubles hold integers exactly up to 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Json::from(value as i64);
    }
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// The string under `key`, when there is one.
pub fn string<'a>(value: &'a Struct, key: &str) -> Option<&'a str> {
    match value.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(value) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_a_round_trip() {
        let json = serde_json::json!({"a": [1, 2.5, "x", null, true], "b": {"c": {}}});
        let Json::Object(map) = &json else { unreachable!() };
        assert_eq!(Json::Object(to_map(&from_map(map))), json);
    }
}
