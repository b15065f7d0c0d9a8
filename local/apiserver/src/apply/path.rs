//! Paths of fields, and the fields of an object.

use crate::registry::Resource;
use crate::schema::{ListType, Node, builtin::definitions};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A field of an object.
    Field(String),
    /// The list item with these key fields (canonical JSON).
    Key(String),
    /// The item of a set (JSON).
    Value(String),
}

impl Step {
    /// Whether this identifies a list item by that field, among others.
    pub fn has_key(&self, field: &str) -> bool {
        match self {
            Step::Key(key) => {
                serde_json::from_str::<Map<String, Value>>(key).is_ok_and(|k| k.contains_key(field))
            }
            Step::Field(_) | Step::Value(_) => false,
        }
    }
}

/// A path from the root.
pub type Path = Vec<Step>;

/// A set of fields.
pub type Set = BTreeSet<Path>;

/// The fields of an object with their values; the existence of a list item or map key counts as a field of value null.
#[derive(Debug, Default)]
pub struct Fields(pub BTreeMap<Path, Value>);

impl Fields {
    /// The fields of an object.
    pub fn of(resource: &Resource, value: &Value) -> Self {
        let mut fields = Fields::default();
        let defs = definitions();
        for (key, member) in value.as_object().into_iter().flatten() {
            let mut path = vec![Step::Field(key.clone())];
            let node = root_member(resource, &defs, key);
            fields.walk(node, member, &mut path);
        }
        fields
    }

    /// The paths alone.
    pub fn into_keys(self) -> Set {
        self.0.into_keys().collect()
    }

    fn walk(&mut self, node: Option<Node<'_>>, value: &Value, path: &mut Path) {
        match value {
            Value::Object(map) if !node.is_some_and(|n| n.is_atomic_map()) && !map.is_empty() => {
                self.walk_map(node, map, path);
            }
            Value::Array(items) => match node.map(|n| n.list_type()) {
                Some(kind @ (ListType::Map | ListType::Set)) => self.walk_list(node, kind, items, path),
                _ => {
                    self.0.insert(path.clone(), value.clone());
                }
            },
            _ => {
                self.0.insert(path.clone(), value.clone());
            }
        }
    }

    fn walk_map(&mut self, node: Option<Node<'_>>, map: &Map<String, Value>, path: &mut Path) {
        for (key, member) in map {
            path.push(Step::Field(key.clone()));
            let declared = node.and_then(|n| n.property(key));
            // A key that the schema does not declare is something that was put there.
            if declared.is_none() && member.is_object() {
                self.0.insert(path.clone(), Value::Null);
            }
            self.walk(node.and_then(|n| n.member(key)), member, path);
            path.pop();
        }
    }

    fn walk_list(&mut self, node: Option<Node<'_>>, kind: ListType, items: &[Value], path: &mut Path) {
        for item in items {
            path.push(step_of(node, kind, item));
            self.0.insert(path.clone(), Value::Null);
            if kind == ListType::Map
                && let Value::Object(map) = item
            {
                self.walk_map(node.and_then(|n| n.items()), map, path);
            }
            path.pop();
        }
    }
}

/// The schema of a root field. All objects share the metadata of the built-in kinds.
pub fn root_member<'a>(
    resource: &'a Resource,
    defs: &'a Arc<crate::schema::Definitions>,
    key: &str,
) -> Option<Node<'a>> {
    if key == "metadata" {
        return defs.get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").map(|v| Node::new(defs, v));
    }
    resource.schema.node().member(key)
}

/// The step that identifies a list item.
pub fn step_of(list: Option<Node<'_>>, kind: ListType, item: &Value) -> Step {
    if kind == ListType::Set {
        return Step::Value(item.to_string());
    }
    let mut keys: Vec<&str> = list.map(|n| n.map_keys()).unwrap_or_default();
    keys.sort_unstable();
    let schema = list.and_then(|n| n.items());
    let value_of = |key: &str| item.get(key).cloned().or_else(|| default_of(schema, key));
    let map: Map<String, Value> =
        keys.into_iter().filter_map(|k| Some((k.to_owned(), value_of(k)?))).collect();
    Step::Key(Value::Object(map).to_string())
}

/// A key field that is left out has its default.
fn default_of(item: Option<Node<'_>>, key: &str) -> Option<Value> {
    let own = item.and_then(|n| n.property(key)).and_then(|n| n.value.get("default")).cloned();
    own.or_else(|| (key == "protocol").then(|| "TCP".into()))
}

const SERVER_META: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// Fields that nobody owns: identity and what only the server sets.
pub fn is_ignored(path: &[Step]) -> bool {
    match path {
        [Step::Field(f)] => matches!(f.as_str(), "apiVersion" | "kind" | "metadata"),
        [Step::Field(m), Step::Field(f), ..] if m == "metadata" => SERVER_META.contains(&f.as_str()),
        _ => false,
    }
}

/// Whether a path is in `status`.
pub fn is_status(path: &[Step]) -> bool {
    matches!(path.first(), Some(Step::Field(f)) if f == "status")
}

/// A set in the form of `fieldsV1`.
pub fn to_fields_v1(set: &Set) -> Value {
    let mut root = Map::new();
    for path in set {
        let mut at = &mut root;
        for step in path {
            let entry = at.entry(step_name(step)).or_insert_with(|| Value::Object(Map::new()));
            at = crate::object::as_map(entry);
        }
        at.insert(".".into(), Value::Object(Map::new()));
    }
    let mut value = Value::Object(root);
    drop_lonely_dots(&mut value);
    value
}

/// `{".": {}}` alone is written `{}`.
fn drop_lonely_dots(value: &mut Value) {
    let Value::Object(map) = value else { return };
    if map.len() == 1 {
        map.shift_remove(".");
    }
    map.values_mut().for_each(drop_lonely_dots);
}

fn step_name(step: &Step) -> String {
    match step {
        Step::Field(f) => format!("f:{f}"),
        Step::Key(k) => format!("k:{k}"),
        Step::Value(v) => format!("v:{v}"),
    }
}

/// A set from `fieldsV1`; what cannot be read is left out.
pub fn from_fields_v1(value: &Value) -> Set {
    let mut out = Set::new();
    read(value, &mut Vec::new(), &mut out);
    out
}

fn read(value: &Value, path: &mut Path, out: &mut Set) {
    let Some(map) = value.as_object() else { return };
    if !path.is_empty() && (map.is_empty() || map.contains_key(".")) {
        out.insert(path.clone());
    }
    for (key, inner) in map {
        let Some((kind, name)) = key.split_once(':') else { continue };
        let step = match kind {
            "f" => Step::Field(name.to_owned()),
            "v" => Step::Value(name.to_owned()),
            "k" => match serde_json::from_str::<Value>(name) {
                Ok(Value::Object(map)) => {
                    let sorted: BTreeMap<String, Value> = map.into_iter().collect();
                    Step::Key(Value::Object(sorted.into_iter().collect()).to_string())
                }
                _ => continue,
            },
            _ => continue,
        };
        path.push(step);
        read(inner, path, out);
        path.pop();
    }
}

/// A path for people: `.spec.containers[name="web"].image`.
pub fn shown(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Field(f) => format!(".{f}"),
            Step::Value(v) => format!("[={v}]"),
            Step::Key(k) => {
                let map: Map<String, Value> = serde_json::from_str(k).unwrap_or_default();
                let all: Vec<String> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("[{}]", all.join(","))
            }
        })
        .collect()
}
