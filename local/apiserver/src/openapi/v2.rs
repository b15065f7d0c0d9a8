//! OpenAPI v2: one document for everything, for older clients.

use super::parts::{self, Operation};
use crate::registry::{Registry, Resource};
use serde_json::{Map, Value, json};

/// The document.
pub fn document(registry: &Registry) -> Value {
    let groups = registry.groups().iter();
    let resources: Vec<&Resource> = groups
        .flat_map(|g| g.versions.iter().flat_map(|v| registry.in_version(&g.name, v)))
        .map(|r| &**r)
        .collect();
    let mut paths = Map::new();
    for resource in &resources {
        for (path, operations) in parts::paths(resource) {
            paths.insert(path, item(resource, operations));
        }
    }
    let mut definitions = Map::new();
    for (name, mut schema) in parts::schemas(resources.into_iter()) {
        parts::rewrite(&mut schema, &older);
        definitions.insert(name, schema);
    }
    json!({"swagger": "2.0", "info": parts::info(), "paths": paths, "definitions": definitions})
}

/// Takes away what v2 does not know.
fn older(map: &mut Map<String, Value>) {
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    let is = |map: &Map<String, Value>, key: &str| map.get(key) == Some(&Value::Bool(true));
    if is(map, "x-kubernetes-int-or-string") {
        map.insert("type".into(), json!("string"));
        if !map.get("description").and_then(Value::as_str).is_some_and(|d| d.starts_with("A fixed-point")) {
            map.insert("format".into(), json!("int-or-string"));
        }
    }
    // An open object is one whose fields a client must not check.
    if is(map, "x-kubernetes-preserve-unknown-fields") && map.get("type") == Some(&json!("object")) {
        map.shift_remove("properties");
    }
    for key in ["oneOf", "anyOf", "allOf", "not", "nullable", "x-kubernetes-validations"] {
        // A property may have such a name; a schema's keyword is never an object with a type.
        if map.get(key).is_some_and(|v| !v.is_object() || key == "not") {
            map.shift_remove(key);
        }
    }
}

fn item(resource: &Resource, operations: Vec<Operation>) -> Value {
    let mut out = Map::new();
    for operation in operations {
        let parameters: Vec<Value> = operation
            .parameters
            .iter()
            .map(|name| json!({"name": name, "in": "query", "type": "string", "uniqueItems": true}))
            .collect();
        let entry = json!({
            "operationId": format!("{}{}{}", operation.action, resource.version, resource.kind),
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": parts::kind_of(resource),
        });
        out.insert(operation.method.to_owned(), entry);
    }
    Value::Object(out)
}
