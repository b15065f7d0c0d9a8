//! What both versions of OpenAPI are made from: schemas by name, and the paths of a resource.

use crate::registry::Resource;
use crate::schema::{Definitions, builtin::definitions};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const KINDS: &str = "x-kubernetes-group-version-kind";
const REF: &str = "#/components/schemas/";

/// All schemas that some resources need, by name.
pub fn schemas<'a>(resources: impl Iterator<Item = &'a Resource>) -> BTreeMap<String, Value> {
    let defs = definitions();
    let mut out = BTreeMap::new();
    for resource in resources {
        let name = schema_name(resource);
        let mut root = match &resource.custom {
            None => defs.get(&name).cloned().unwrap_or_else(|| json!({"type": "object"})),
            Some(_) => custom_root(resource),
        };
        reach(&defs, &root, &mut out);
        // Versions of a kind may share a schema.
        let mut kinds = match out.get(&name).and_then(|found: &Value| found.get(KINDS)) {
            Some(Value::Array(kinds)) => kinds.clone(),
            _ => Vec::new(),
        };
        kinds.push(kind_of(resource));
        root[KINDS] = kinds.into();
        out.insert(name, root);
    }
    out
}

/// Group, version and kind, as extensions carry them.
pub fn kind_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "kind": resource.kind, "version": resource.version})
}

/// The name of a resource's schema: `io.k8s.api.core.v1.Pod`, `io.istio.networking.v1.Gateway`.
pub fn schema_name(resource: &Resource) -> String {
    if resource.custom.is_none() {
        let reference = resource.schema.root.get("$ref").and_then(Value::as_str).unwrap_or_default();
        return reference.trim_start_matches(REF).to_owned();
    }
    let mut parts: Vec<&str> = resource.group.split('.').rev().collect();
    parts.extend([resource.version.as_str(), resource.kind.as_str()]);
    parts.join(".")
}

fn custom_root(resource: &Resource) -> Value {
    let mut root = (*resource.schema.root).clone();
    let properties = crate::object::child(&mut root, "properties");
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    properties.insert(
        "metadata".into(),
        json!({"$ref": format!("{REF}{meta}"), "description": "Standard object's metadata."}),
    );
    root
}

/// Collects everything that a schema refers to.
fn reach(defs: &Definitions, schema: &Value, out: &mut BTreeMap<String, Value>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).map(|r| r.trim_start_matches(REF))
                && !out.contains_key(name)
                && let Some(found) = defs.get(name)
            {
                out.insert(name.to_owned(), found.clone());
                reach(defs, found, out);
            }
            map.values().for_each(|v| reach(defs, v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| reach(defs, v, out)),
        _ => {}
    }
}

/// An operation: the HTTP method (lower case) and its query parameters.
pub struct Operation {
    /// `get`, `post`, …
    pub method: &'static str,
    /// What Kubernetes calls it.
    pub action: &'static str,
    /// Query parameters.
    pub parameters: &'static [&'static str],
}

const WRITES: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const READS: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "timeoutSeconds",
    "watch",
];

/// The paths of a resource with their operations.
pub fn paths(resource: &Resource) -> Vec<(String, Vec<Operation>)> {
    let prefix =
        if resource.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.group) };
    let place = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{prefix}/{}{place}/{}", resource.version, resource.plural);
    let post = Operation { method: "post", action: "post", parameters: WRITES };
    if !resource.stored {
        return vec![(collection, vec![post])];
    }
    let list = Operation { method: "get", action: "list", parameters: READS };
    let one = vec![
        Operation { method: "get", action: "get", parameters: &[] },
        Operation { method: "put", action: "put", parameters: WRITES },
        Operation {
            method: "patch",
            action: "patch",
            parameters: &["dryRun", "fieldManager", "fieldValidation", "force"],
        },
        Operation {
            method: "delete",
            action: "delete",
            parameters: &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        },
    ];
    vec![(format!("{collection}/{{name}}"), one), (collection, vec![list, post])]
}

/// `info` of a document.
pub fn info() -> Value {
    json!({"title": "Kubernetes", "version": crate::api::VERSION})
}

/// Rewrites every `$ref` by a function of the whole object that holds it.
pub fn rewrite(schema: &mut Value, with: &dyn Fn(&mut Map<String, Value>)) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(|v| rewrite(v, with));
            with(map);
        }
        Value::Array(items) => items.iter_mut().for_each(|v| rewrite(v, with)),
        _ => {}
    }
}
