//! Which resources this server has: the built-in table and those that CRDs add.

pub mod builtin;
pub mod custom;
mod ignored;
mod unserved;

pub use ignored::ignored;
pub use unserved::{unserved, without_effect};

use crate::schema::Schema;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A printed column of a custom resource.
#[derive(Debug, Clone, PartialEq)]
pub struct PrinterColumn {
    /// Heading, as the CRD has it.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// JSON path into the object.
    pub json_path: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i64,
    /// Text for `kubectl explain`-like help.
    pub description: String,
}

/// Where the scale sub-resource finds its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// JSON pointer of the wanted replicas.
    pub spec: String,
    /// JSON pointer of the observed replicas.
    pub status: String,
    /// JSON pointer of the label selector (an object or its string form); "" if there is none.
    pub selector: String,
}

/// What a custom resource has beyond a built-in one.
#[derive(Debug)]
pub struct Custom {
    /// The name of its CustomResourceDefinition.
    pub crd: String,
    /// Additional columns of this version.
    pub columns: Vec<PrinterColumn>,
    /// Compiled CEL rules, if the schema has any.
    pub rules: Option<kube_cel::CompiledSchema>,
    /// A deprecation warning to send with every answer.
    pub warning: Option<String>,
}

/// One resource in one version.
#[derive(Debug)]
pub struct Resource {
    /// API group, "" for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural, as in paths.
    pub plural: String,
    /// Singular.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Kind of a list.
    pub list_kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Short names for kubectl.
    pub short_names: Vec<String>,
    /// Categories for kubectl (`all`).
    pub categories: Vec<String>,
    /// Storage key: all versions of a resource share it.
    pub storage: Arc<str>,
    /// The version objects are stored in.
    pub storage_version: String,
    /// Whether `status` is written only through its sub-resource.
    pub has_status: bool,
    /// The scale sub-resource, if any.
    pub scale: Option<ScalePaths>,
    /// Whether objects are stored; reviews are only answered.
    pub stored: bool,
    /// The schema of the object.
    pub schema: Schema,
    /// Set for custom resources.
    pub custom: Option<Custom>,
}

impl Resource {
    /// `apiVersion` of objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, as errors name the resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether this is the built-in resource of that group and plural.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// Verbs for discovery.
    pub fn verbs(&self) -> &'static [&'static str] {
        if self.stored {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        } else {
            &["create"]
        }
    }

    /// Whether `metadata.generation` counts spec changes of this resource.
    pub fn has_generation(&self) -> bool {
        self.custom.is_some()
            || matches!(
                (self.group.as_str(), self.plural.as_str()),
                ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
                    | ("", "replicationcontrollers" | "pods")
                    | ("batch", _)
                    | ("networking.k8s.io", _)
                    | ("policy", _)
                    | ("apiextensions.k8s.io", _)
                    | ("admissionregistration.k8s.io", _)
                    | ("discovery.k8s.io", _)
            )
    }

    /// The object in the words of this version, when stored in another.
    pub fn present(&self, stored: &Value) -> Option<Value> {
        if self.version == self.storage_version || self.custom.is_none() {
            return builtin::present(self, stored);
        }
        let mut value = stored.clone();
        value["apiVersion"] = Value::from(self.api_version());
        Some(value)
    }

    /// The object in the words of the stored version.
    pub fn to_storage(&self, mut value: Value) -> Value {
        if self.custom.is_some() {
            value["apiVersion"] = Value::from(format!("{}/{}", self.group, self.storage_version));
            return value;
        }
        builtin::to_storage(self, value)
    }
}

/// A group's versions, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name of the group.
    pub name: String,
    /// Versions, best first.
    pub versions: Vec<String>,
}

/// All resources, immutable; replaced as a whole when a CRD changes.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
    groups: Vec<Group>,
}

impl Registry {
    /// The built-in resources alone.
    pub fn builtin() -> Self {
        let mut registry = Registry::default();
        for resource in builtin::resources() {
            registry.add(resource);
        }
        registry
    }

    /// Adds a resource, and its group and version where new.
    pub fn add(&mut self, resource: Arc<Resource>) {
        match self.groups.iter_mut().find(|g| g.name == resource.group) {
            Some(group) if group.versions.contains(&resource.version) => {}
            Some(group) => {
                group.versions.push(resource.version.clone());
                group.versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
            }
            None => self
                .groups
                .push(Group { name: resource.group.clone(), versions: vec![resource.version.clone()] }),
        }
        let key = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        self.by_path.insert(key, resource);
    }

    /// The resource at `/apis/group/version/plural`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The preferred version of a resource.
    pub fn find_any_version(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let versions = &self.groups.iter().find(|g| g.name == group)?.versions;
        versions.iter().find_map(|v| self.find(group, v, plural))
    }

    /// The resource of a kind.
    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.by_path.values().find(|r| r.group == group && r.version == version && r.kind == kind && r.stored)
    }

    /// All resources of one group version.
    pub fn in_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.by_path.values().filter(move |r| r.group == group && r.version == version)
    }

    /// One resource per stored collection: its storage version, or another where that one is not served.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let mut all: BTreeMap<&str, &Arc<Resource>> = BTreeMap::new();
        for resource in self.by_path.values().filter(|r| r.stored && builtin::owns_storage(r)) {
            if resource.version == resource.storage_version || !all.contains_key(&*resource.storage) {
                all.insert(&resource.storage, resource);
            }
        }
        all.into_values()
    }

    /// All groups, core first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}

/// Kubernetes' order of versions: GA over beta over alpha, then by numbers.
pub fn version_rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let digits = |s: &str| s.parse::<u32>().unwrap_or(0);
    if let Some((major, minor)) = rest.split_once("beta") {
        (2, digits(major), digits(minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (1, digits(major), digits(minor))
    } else {
        (3, digits(rest), 0)
    }
}
