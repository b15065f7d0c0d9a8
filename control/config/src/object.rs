//! What every object has: metadata, and a spec of its kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Kind;

/// The part of Kubernetes' `ObjectMeta` that the mesh reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// The object's name.
    pub name: String,
    /// The namespace; empty for kinds of cluster scope.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The API server's unique id, empty for objects from files.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Opaque version, empty for objects from files.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Counts changes of the spec.
    #[serde(skip_serializing_if = "crate::message::is_default")]
    pub generation: i64,
    /// RFC 3339 in UTC; empty for objects from files. Istio lets the oldest object win a conflict.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub creation_timestamp: String,
}

impl Meta {
    /// Metadata with a name and a namespace only.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: namespace.into(), ..Self::default() }
    }
}

/// An object of one of Istio's kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<S> {
    /// Name, namespace, labels and the rest of the metadata.
    pub meta: Meta,
    /// What the user asks for.
    pub spec: S,
    /// What a controller last reported, as it stands on the API server.
    pub status: Option<serde_json::Value>,
}

impl<S> Object<S> {
    /// An object without a status.
    pub fn new(meta: Meta, spec: S) -> Self {
        Self { meta, spec, status: None }
    }
}

/// The spec of one of Istio's kinds.
pub trait Spec:
    Clone + Default + PartialEq + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// Which kind this is the spec of.
    const KIND: Kind;
}
