//! CustomResourceDefinitions, made from the Rust types.

mod columns;

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::kind::KindInfo;
use crate::shape::{Field, Message, Shape};

/// The CRDs of all of Istio's kinds.
pub fn all() -> Vec<Value> {
    Kind::istio().filter_map(of).collect()
}

/// The CRD of one kind; `None` for Kubernetes' kinds.
pub fn of(kind: Kind) -> Option<Value> {
    let info = kind.info();
    let spec = schema(Shape::of_kind(kind)?, "");
    let versions: Vec<Value> = info.versions.iter().map(|version| version_of(info, version, &spec)).collect();
    let mut names = json!({
        "categories": ["istio-io", category(info.group)],
        "kind": info.name, "listKind": format!("{}List", info.name),
        "plural": info.plural, "singular": info.singular,
    });
    if !info.short_names.is_empty() {
        names["shortNames"] = json!(info.short_names);
    }
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", info.plural, info.group),
            "annotations": {"helm.sh/resource-policy": "keep"},
            "labels": {"app": "istio-pilot", "chart": "istio", "heritage": "Tiller", "release": "istio"},
        },
        "spec": {
            "group": info.group,
            "names": names,
            "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    }))
}

fn category(group: &str) -> String {
    group.replace('.', "-")
}

fn version_of(info: &KindInfo, version: &str, spec: &Value) -> Value {
    let mut version = json!({
        "name": version,
        "served": true,
        "storage": version == info.storage,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {
            "type": "object",
            "properties": {
                "spec": spec,
                "status": status(info.kind),
            },
        }},
    });
    if let Some(columns) = columns::of(info.kind) {
        version["additionalPrinterColumns"] = columns;
    }
    version
}

/// What controllers report: Istio's `IstioStatus`.
fn status(kind: Kind) -> Value {
    let text = json!({"type": "string"});
    let mut properties = json!({
        "conditions": {"type": "array", "items": {"type": "object", "properties": {
            "type": text, "status": text, "reason": text, "message": text,
            "observedGeneration": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
            "lastProbeTime": {"type": "string", "format": "date-time"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        }}},
        "observedGeneration": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
        "validationMessages": {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    });
    if kind == Kind::ServiceEntry {
        properties["addresses"] = json!({"type": "array", "items": {"type": "object", "properties": {
            "host": text, "value": text,
        }}});
    }
    json!({"type": "object", "properties": properties, "x-kubernetes-preserve-unknown-fields": true})
}

/// A structural schema: no references, and no properties inside of `oneOf`.
fn schema(shape: &Shape, description: &str) -> Value {
    let mut schema = match shape {
        Shape::Message(message) => message_schema(message),
        Shape::Map(inner) => json!({"type": "object", "additionalProperties": schema(inner, "")}),
        Shape::List(inner) => json!({"type": "array", "items": schema(inner, "")}),
        Shape::Text => json!({"type": "string"}),
        Shape::Duration => json!({"type": "string", "format": "duration"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Number => json!({"type": "number", "format": "double"}),
        Shape::Integer(integer) => {
            let mut schema =
                json!({"type": "integer", "format": if integer.wide { "int64" } else { "int32" }});
            if !integer.signed {
                // `uint32` is no format that Kubernetes knows, so the bounds say it.
                schema = json!({"type": "integer", "minimum": 0});
                if !integer.wide {
                    schema["maximum"] = json!(u32::MAX);
                }
            }
            schema
        }
        Shape::Enum(names) => json!({"type": "string", "enum": names}),
        Shape::Free { object: true } => {
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
        }
        Shape::Free { object: false } => json!({"x-kubernetes-preserve-unknown-fields": true}),
    };
    if !description.is_empty() {
        schema["description"] = json!(description);
    }
    schema
}

fn message_schema(message: &Message) -> Value {
    let mut properties = Map::new();
    for (name, field) in &message.fields {
        properties.insert(name.clone(), field_schema(field));
        for also in &field.also {
            properties.insert(also.clone(), field_schema(field));
        }
    }
    let mut schema = json!({"type": "object"});
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    let groups: Vec<Value> = message.oneofs.iter().map(|group| at_most_one(group)).collect();
    match groups.as_slice() {
        [] => {}
        [one] => merge(&mut schema, one),
        many => schema["allOf"] = json!(many),
    }
    schema
}

fn field_schema(field: &Field) -> Value {
    let description = match &field.deprecated {
        Some(instead) => format!("Deprecated: {instead}. {}", field.description),
        None => field.description.clone(),
    };
    schema(&field.shape, description.trim())
}

/// `oneOf`: none of them, or just one.
fn at_most_one(group: &[String]) -> Value {
    let required: Vec<Value> = group.iter().map(|name| json!({"required": [name]})).collect();
    let mut choices = vec![json!({"not": {"anyOf": required}})];
    choices.extend(required);
    json!({"oneOf": choices})
}

fn merge(schema: &mut Value, part: &Value) {
    if let (Some(schema), Some(part)) = (schema.as_object_mut(), part.as_object()) {
        schema.extend(part.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

#[cfg(test)]
mod tests;
