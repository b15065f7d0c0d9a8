//! The OpenAPI v2 document as protobuf, in the message layout of gnostic's `openapi.v2`, which `kubectl` before 1.24 asks for.
//!
//! Only the fields that `kubectl` reads are written: references, types, properties, items, requirements, descriptions and
//! the vendor extensions.

use serde_json::{Map, Value};

/// Encodes a v2 document.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document["swagger"].as_str());
    out.message(2, |info| {
        info.text(1, document["info"]["title"].as_str());
        info.text(2, document["info"]["version"].as_str());
    });
    out.message(8, |paths| {
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            paths.named(2, path, |m| path_item(m, item));
        }
    });
    out.message(9, |definitions| {
        for (name, schema) in document["definitions"].as_object().into_iter().flatten() {
            definitions.named(1, name, |m| self::schema(m, schema));
        }
    });
    out.0
}

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn bytes(&mut self, number: u32, content: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(content.len() as u64);
        self.0.extend_from_slice(content);
    }

    fn text(&mut self, number: u32, content: Option<&str>) {
        if let Some(content) = content.filter(|c| !c.is_empty()) {
            self.bytes(number, content.as_bytes());
        }
    }

    fn flag(&mut self, number: u32, on: bool) {
        if on {
            self.varint(u64::from(number) << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, number: u32, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(number, &inner.0);
    }

    /// A pair of name and value.
    fn named(&mut self, number: u32, name: &str, fill: impl FnOnce(&mut Message)) {
        self.message(number, |pair| {
            pair.text(1, Some(name));
            pair.message(2, fill);
        });
    }

    fn extensions(&mut self, number: u32, from: &Map<String, Value>) {
        for (name, value) in from.iter().filter(|(k, _)| k.starts_with("x-")) {
            // JSON is YAML.
            self.named(number, name, |any| any.text(2, Some(&value.to_string())));
        }
    }
}

const METHODS: [(&str, u32); 5] = [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)];

fn path_item(out: &mut Message, item: &Value) {
    for (method, number) in METHODS {
        if let Some(operation) = item.get(method).and_then(Value::as_object) {
            out.message(number, |m| self::operation(m, operation));
        }
    }
}

fn operation(out: &mut Message, operation: &Map<String, Value>) {
    out.text(5, operation.get("operationId").and_then(Value::as_str));
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        // ParametersItem.parameter, Parameter.non_body_parameter, NonBodyParameter.query_parameter_sub_schema
        out.message(8, |item| {
            item.message(1, |p| {
                p.message(2, |non_body| {
                    non_body.message(3, |query| {
                        query.text(2, Some("query"));
                        query.text(4, parameter["name"].as_str());
                        query.text(6, parameter["type"].as_str());
                    });
                });
            });
        });
    }
    out.message(9, |_responses| {});
    out.extensions(13, operation);
}

fn schema(out: &mut Message, schema: &Value) {
    let Some(map) = schema.as_object() else { return };
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    out.text(1, text("$ref"));
    out.text(2, text("format"));
    out.text(4, text("description"));
    for name in map.get("required").and_then(Value::as_array).into_iter().flatten() {
        out.text(19, name.as_str());
    }
    match map.get("additionalProperties") {
        Some(Value::Bool(on)) => out.message(21, |m| m.flag(2, *on)),
        Some(inner @ Value::Object(_)) => out.message(21, |m| m.message(1, |s| self::schema(s, inner))),
        _ => {}
    }
    if let Some(kind) = text("type") {
        out.message(22, |m| m.text(1, Some(kind)));
    }
    if let Some(items) = map.get("items") {
        out.message(23, |m| m.message(1, |s| self::schema(s, items)));
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        out.message(25, |m| {
            for (name, property) in properties {
                m.named(1, name, |s| self::schema(s, property));
            }
        });
    }
    out.extensions(31, map);
}
