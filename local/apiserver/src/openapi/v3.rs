//! OpenAPI v3: one document for each group version.

use super::parts::{self, Operation};
use crate::registry::{Registry, Resource};
use serde_json::{Map, Value, json};

/// The document of a group version.
pub fn document(registry: &Registry, group: &str, version: &str) -> Value {
    let resources: Vec<&Resource> = registry.in_version(group, version).map(|r| &**r).collect();
    let mut paths = Map::new();
    for resource in &resources {
        for (path, operations) in parts::paths(resource) {
            paths.insert(path, item(resource, operations));
        }
    }
    let mut schemas = Map::new();
    for (name, mut schema) in parts::schemas(resources.into_iter()) {
        parts::rewrite(&mut schema, &wrap_reference);
        schemas.insert(name, schema);
    }
    json!({"openapi": "3.0.0", "info": parts::info(), "paths": paths, "components": {"schemas": schemas}})
}

/// OpenAPI 3.0 ignores what stands beside a reference, so Kubernetes wraps it.
fn wrap_reference(map: &mut Map<String, Value>) {
    if map.len() > 1
        && let Some(reference) = map.shift_remove("$ref")
    {
        map.insert("allOf".into(), json!([{ "$ref": reference }]));
    }
}

fn item(resource: &Resource, operations: Vec<Operation>) -> Value {
    let mut out = Map::new();
    let reference = json!({"$ref": format!("#/components/schemas/{}", parts::schema_name(resource))});
    let content = json!({"application/json": {"schema": reference}});
    for operation in operations {
        let parameters: Vec<Value> = operation.parameters.iter().map(|p| parameter(p)).collect();
        let mut entry = json!({
            "operationId": format!("{}{}{}", operation.action, resource.version, resource.kind),
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": parts::kind_of(resource),
        });
        if matches!(operation.method, "post" | "put") {
            entry["requestBody"] = json!({ "content": content });
        }
        out.insert(operation.method.to_owned(), entry);
    }
    Value::Object(out)
}

fn parameter(name: &str) -> Value {
    let kind = match name {
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        "watch" | "force" | "allowWatchBookmarks" => "boolean",
        _ => "string",
    };
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}
