//! The shape of a message, read from the JSON schema of its Rust type. Strict parsing and the CRDs are both made from
//! it, so they cannot disagree.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

use crate::Kind;
use crate::any::spec_shape;

/// What a value must look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Message(Message),
    Map(Box<Shape>),
    List(Box<Shape>),
    Text,
    Bool,
    Integer(Integer),
    Number,
    /// Names in the order of the proto's numbers.
    Enum(Vec<String>),
    Duration,
    /// An object or value without a schema, such as Envoy configuration.
    Free {
        object: bool,
    },
}

/// Bounds and width of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    pub signed: bool,
    pub wide: bool,
}

/// Fields, and which exclude each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub description: String,
    pub fields: BTreeMap<String, Field>,
    pub oneofs: Vec<Vec<String>>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub shape: Shape,
    pub description: String,
    /// What to use instead.
    pub deprecated: Option<String>,
    /// Further names under which Istio's CRDs take the field.
    pub also: Vec<String>,
}

impl Shape {
    /// The shape of a type.
    pub(crate) fn of<T: JsonSchema>() -> Shape {
        let settings = SchemaSettings::draft07().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let schema = settings.into_generator().into_root_schema_for::<T>();
        Shape::read(schema.as_value())
    }

    /// The shape of a kind's spec; `None` for Kubernetes' kinds.
    pub(crate) fn of_kind(kind: Kind) -> Option<&'static Shape> {
        spec_shape(kind)
    }

    /// The message's field, if this is a message.
    #[cfg(test)]
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match self {
            Shape::Message(message) => message.fields.get(name),
            _ => None,
        }
    }

    fn read(schema: &Value) -> Shape {
        let Some(object) = schema.as_object() else {
            return Shape::Free { object: false };
        };
        if let Some(inner) = without_null(object) {
            return Shape::read(inner);
        }
        if object.contains_key("x-duration") {
            return Shape::Duration;
        }
        let names = enum_names(object);
        if !names.is_empty() {
            return Shape::Enum(names);
        }
        match type_of(object) {
            Some("object") => read_object(object),
            Some("array") => Shape::List(Box::new(Shape::read(object.get("items").unwrap_or(&Value::Null)))),
            Some("string") => Shape::Text,
            Some("boolean") => Shape::Bool,
            Some("number") => Shape::Number,
            Some("integer") => {
                let format = text(object, "format");
                Shape::Integer(Integer { signed: !format.starts_with('u'), wide: format.ends_with("64") })
            }
            _ => Shape::Free { object: false },
        }
    }
}

fn read_object(object: &Map<String, Value>) -> Shape {
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        let fields = properties.iter().map(|(name, schema)| (name.clone(), read_field(schema))).collect();
        return Shape::Message(Message {
            description: text(object, "description").to_owned(),
            fields,
            oneofs: read_oneofs(object),
        });
    }
    let element = object
        .get("patternProperties")
        .and_then(Value::as_object)
        .and_then(|patterns| patterns.values().next())
        .or_else(|| object.get("additionalProperties"));
    match element {
        Some(schema @ Value::Object(_)) => Shape::Map(Box::new(Shape::read(schema))),
        Some(_) => Shape::Free { object: true },
        None => Shape::Message(Message {
            description: text(object, "description").to_owned(),
            ..Message::default()
        }),
    }
}

fn read_field(schema: &Value) -> Field {
    let empty = Map::new();
    let object = schema.as_object().unwrap_or(&empty);
    Field {
        shape: Shape::read(schema),
        description: text(object, "description").to_owned(),
        deprecated: object.get("x-deprecated").and_then(Value::as_str).map(str::to_owned),
        also: strings(object.get("x-also")),
    }
}

fn read_oneofs(object: &Map<String, Value>) -> Vec<Vec<String>> {
    let groups = object.get("x-oneof").and_then(Value::as_array);
    groups.into_iter().flatten().map(|group| strings(Some(group))).collect()
}

/// The schema inside `anyOf: [schema, {type: null}]`, which is how an `Option` of a message looks, or inside the
/// `allOf` of one that carries a description.
fn without_null(object: &Map<String, Value>) -> Option<&Value> {
    if let Some(only) = object.get("allOf").and_then(Value::as_array) {
        return only.first();
    }
    let choices = object.get("anyOf")?.as_array()?;
    choices.iter().find(|choice| choice.get("type").and_then(Value::as_str) != Some("null"))
}

fn type_of(object: &Map<String, Value>) -> Option<&str> {
    match object.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

/// The names of an enumeration: variants with docs come as `oneOf` of constants, others as `enum`.
fn enum_names(object: &Map<String, Value>) -> Vec<String> {
    let mut names = strings(object.get("enum"));
    names.extend(object.get("const").and_then(Value::as_str).map(str::to_owned));
    for choice in object.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        if let Some(choice) = choice.as_object() {
            names.extend(enum_names(choice));
        }
    }
    names
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_is_a_message_without_holes() {
        for kind in Kind::istio() {
            let shape = Shape::of_kind(kind).expect("a spec");
            assert_no_hole(shape, kind.name());
        }
    }

    /// The only fields without a schema are those that Istio declares as free structs.
    fn assert_no_hole(shape: &Shape, path: &str) {
        match shape {
            Shape::Message(message) => {
                for (name, field) in &message.fields {
                    assert_no_hole(&field.shape, &format!("{path}.{name}"));
                }
            }
            Shape::Map(inner) | Shape::List(inner) => assert_no_hole(inner, path),
            Shape::Free { object } => {
                assert!(
                    *object && (path.ends_with("pluginConfig") || path.ends_with("patch.value")),
                    "{path}"
                );
            }
            _ => {}
        }
    }

    #[test]
    fn reads_options_enumerations_and_exclusions() {
        let shape = Shape::of_kind(Kind::DestinationRule).expect("a spec");
        let policy = &shape.field("trafficPolicy").expect("a field").shape;
        let balancer = &policy.field("loadBalancer").expect("a field").shape;
        let Shape::Message(message) = balancer else { panic!("a message, not {balancer:?}") };
        assert_eq!(message.oneofs[0][0], "simple");
        assert!(matches!(&message.fields["simple"].shape, Shape::Enum(names) if names.len() == 6));
        assert_eq!(message.fields["warmupDurationSecs"].shape, Shape::Duration);
        assert!(message.fields["warmupDurationSecs"].deprecated.is_some());
    }
}
