//! Schemas: one walker over OpenAPI v3 documents, for built-in kinds (from `k8s-openapi`) and custom resources alike.

pub mod builtin;
pub mod check;
pub mod merge_keys;
pub mod structural;

use serde_json::{Map, Value};
use std::sync::Arc;

/// Named schemas that `$ref`s point to, keyed like `io.k8s.api.core.v1.Pod`.
pub type Definitions = Map<String, Value>;

/// A schema and the definitions its references resolve in.
#[derive(Debug, Clone)]
pub struct Schema {
    /// What `$ref` resolves in.
    pub defs: Arc<Definitions>,
    /// The root node.
    pub root: Arc<Value>,
}

impl Schema {
    /// The root as a node to walk from.
    pub fn node(&self) -> Node<'_> {
        Node { defs: &self.defs, value: &self.root }.resolved()
    }
}

/// How a list is merged by server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items identified by key fields.
    Map,
}

/// A place in a schema.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    defs: &'a Definitions,
    /// The schema's JSON.
    pub value: &'a Value,
}

const REF_PREFIX: &str = "#/components/schemas/";

impl<'a> Node<'a> {
    /// A node over a schema without references.
    pub fn new(defs: &'a Definitions, value: &'a Value) -> Self {
        Node { defs, value }.resolved()
    }

    /// Follows `$ref`s.
    fn resolved(self) -> Self {
        let mut node = self;
        for _ in 0..8 {
            let Some(target) = node.value.get("$ref").and_then(Value::as_str) else { break };
            let Some(value) = node.defs.get(target.trim_start_matches(REF_PREFIX)) else { break };
            node.value = value;
        }
        node
    }

    fn flag(&self, key: &str) -> bool {
        self.value.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    fn text(&self, key: &str) -> &'a str {
        self.value.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The JSON type, "" when any.
    pub fn kind(&self) -> &'a str {
        self.text("type")
    }

    /// Either an integer or a string.
    pub fn int_or_string(&self) -> bool {
        self.flag("x-kubernetes-int-or-string")
    }

    /// Whether null is a value (and not the absence of one).
    pub fn nullable(&self) -> bool {
        self.flag("nullable")
    }

    /// Whether unknown fields are kept.
    pub fn preserves_unknown(&self) -> bool {
        self.flag("x-kubernetes-preserve-unknown-fields")
    }

    /// A whole Kubernetes object (with apiVersion, kind, metadata) embedded here.
    pub fn is_embedded(&self) -> bool {
        self.flag("x-kubernetes-embedded-resource")
    }

    /// `properties`.
    pub fn properties(&self) -> Option<&'a Map<String, Value>> {
        self.value.get("properties").and_then(Value::as_object)
    }

    /// The schema of a declared property.
    pub fn property(&self, name: &str) -> Option<Node<'a>> {
        let value = self.properties()?.get(name)?;
        Some(Node { defs: self.defs, value }.resolved())
    }

    /// The schema of undeclared properties (`additionalProperties` as a schema).
    pub fn additional(&self) -> Option<Node<'a>> {
        let value = self.value.get("additionalProperties")?;
        value.is_object().then(|| Node { defs: self.defs, value }.resolved())
    }

    /// The schema of a key's value: a property or an additional one.
    pub fn member(&self, name: &str) -> Option<Node<'a>> {
        self.property(name).or_else(|| self.additional())
    }

    /// The schema of list items.
    pub fn items(&self) -> Option<Node<'a>> {
        let value = self.value.get("items")?;
        Some(Node { defs: self.defs, value }.resolved())
    }

    /// Nothing is known of the content: no properties, no additional, no items.
    pub fn is_opaque(&self) -> bool {
        self.properties().is_none()
            && self.value.get("additionalProperties").is_none()
            && self.items().is_none()
    }

    /// How server-side apply merges this list.
    pub fn list_type(&self) -> ListType {
        match self.text("x-kubernetes-list-type") {
            "map" => ListType::Map,
            "set" => ListType::Set,
            _ => ListType::Atomic,
        }
    }

    /// The fields that identify an item of a `map` list.
    pub fn map_keys(&self) -> Vec<&'a str> {
        let keys = self.value.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        keys.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Whether server-side apply takes this object as one value.
    pub fn is_atomic_map(&self) -> bool {
        self.text("x-kubernetes-map-type") == "atomic"
    }

    /// The key by which a strategic merge patch pairs list items.
    pub fn patch_merge_key(&self) -> Option<&'a str> {
        self.value.get("x-kubernetes-patch-merge-key").and_then(Value::as_str)
    }

    /// Whether the strategic merge strategy contains `word` (`merge`, `retainKeys`, `replace`).
    pub fn patch_strategy_has(&self, word: &str) -> bool {
        self.text("x-kubernetes-patch-strategy").split(',').any(|s| s == word)
    }
}
