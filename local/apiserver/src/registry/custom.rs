//! Resources from CustomResourceDefinitions.

use super::{Custom, PrinterColumn, Resource, ScalePaths};
use crate::object::{list, name, text};
use crate::schema::{Definitions, Schema};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// The resources that a CRD defines: one a served version.
pub fn resources(crd: &Value) -> Vec<Arc<Resource>> {
    let versions = list(crd, "/spec/versions");
    let storage_version = versions
        .iter()
        .find(|v| v["storage"] == json!(true))
        .map(|v| text(v, "/name").to_owned())
        .unwrap_or_default();
    versions
        .iter()
        .filter(|v| v["served"] == json!(true))
        .map(|version| Arc::new(resource(crd, version, &storage_version)))
        .collect()
}

fn strings(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn resource(crd: &Value, version: &Value, storage_version: &str) -> Resource {
    let group = text(crd, "/spec/group").to_owned();
    let plural = text(crd, "/spec/names/plural").to_owned();
    let kind = text(crd, "/spec/names/kind").to_owned();
    let or = |value: &str, other: String| if value.is_empty() { other } else { value.to_owned() };
    let root = root_schema(version.pointer("/schema/openAPIV3Schema"));
    let rules = has_rules(&root).then(|| kube_cel::compile_schema(&root));
    Resource {
        storage: format!("{group}/{plural}").into(),
        singular: or(text(crd, "/spec/names/singular"), kind.to_lowercase()),
        list_kind: or(text(crd, "/spec/names/listKind"), format!("{kind}List")),
        namespaced: text(crd, "/spec/scope") != "Cluster",
        short_names: strings(crd, "/spec/names/shortNames"),
        categories: strings(crd, "/spec/names/categories"),
        version: text(version, "/name").to_owned(),
        storage_version: storage_version.to_owned(),
        has_status: version.pointer("/subresources/status").is_some_and(|v| !v.is_null()),
        scale: scale(version),
        stored: true,
        custom: Some(Custom {
            crd: name(crd).to_owned(),
            columns: columns(version),
            rules,
            warning: deprecation(version, &group, &kind),
        }),
        schema: Schema { defs: empty_definitions(), root: Arc::new(root) },
        group,
        plural,
        kind,
    }
}

fn empty_definitions() -> Arc<Definitions> {
    static EMPTY: LazyLock<Arc<Definitions>> = LazyLock::new(Arc::default);
    EMPTY.clone()
}

fn deprecation(version: &Value, group: &str, kind: &str) -> Option<String> {
    if version.get("deprecated").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let own = text(version, "/deprecationWarning");
    let default = || format!("{group}/{} {kind} is deprecated", text(version, "/name"));
    Some(if own.is_empty() { default() } else { own.to_owned() })
}

/// The version's schema with the fields that every object has.
fn root_schema(schema: Option<&Value>) -> Value {
    let open = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut root = schema.filter(|s| s.is_object()).cloned().unwrap_or_else(open);
    let properties = crate::object::child(&mut root, "properties");
    for (key, text) in [("apiVersion", API_VERSION_HELP), ("kind", KIND_HELP)] {
        properties.insert(key.into(), json!({"type": "string", "description": text}));
    }
    // Name rules may stand in the CRD's own metadata schema; everything else is the built-in ObjectMeta's business.
    let mut metadata = properties.get("metadata").cloned().unwrap_or_else(|| json!({"type": "object"}));
    metadata["x-kubernetes-preserve-unknown-fields"] = json!(true);
    properties.insert("metadata".into(), metadata);
    root
}

const API_VERSION_HELP: &str = "APIVersion defines the versioned schema of this representation of an object.";
const KIND_HELP: &str = "Kind is a string value representing the REST resource this object represents.";

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key("x-kubernetes-validations") || map.values().any(has_rules),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

fn pointer_of(json_path: &str) -> String {
    json_path.replace('.', "/")
}

fn scale(version: &Value) -> Option<ScalePaths> {
    let scale = version.pointer("/subresources/scale").filter(|v| v.is_object())?;
    Some(ScalePaths {
        spec: pointer_of(text(scale, "/specReplicasPath")),
        status: pointer_of(text(scale, "/statusReplicasPath")),
        selector: pointer_of(text(scale, "/labelSelectorPath")),
    })
}

fn columns(version: &Value) -> Vec<PrinterColumn> {
    let own = list(version, "/additionalPrinterColumns").iter().map(|c| PrinterColumn {
        name: text(c, "/name").to_owned(),
        kind: text(c, "/type").to_owned(),
        json_path: text(c, "/jsonPath").to_owned(),
        priority: c.get("priority").and_then(Value::as_i64).unwrap_or(0),
        description: text(c, "/description").to_owned(),
    });
    let own: Vec<PrinterColumn> = own.collect();
    if !own.is_empty() {
        return own;
    }
    vec![PrinterColumn {
        name: "Age".into(),
        kind: "date".into(),
        json_path: ".metadata.creationTimestamp".into(),
        priority: 0,
        description: String::new(),
    }]
}

/// The names a CRD claims, for discovery and for its status.
pub fn accepted_names(crd: &Value) -> Value {
    let mut names: Map<String, Value> = crate::object::map(crd, "/spec/names").cloned().unwrap_or_default();
    let kind = crate::object::str_of(&names, "kind").to_owned();
    crate::object::default(&mut names, "singular", kind.to_lowercase());
    crate::object::default(&mut names, "listKind", format!("{kind}List"));
    Value::Object(names)
}
