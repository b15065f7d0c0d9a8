//! Who a proxy is: the node id and the metadata that it tells the control plane.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::google::protobuf::Struct;
use crate::structs;

/// What a proxy is in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Beside an application.
    Sidecar,
    /// A gateway.
    Router,
    /// A waypoint of ambient mode.
    Waypoint,
    /// The node proxy of ambient mode.
    Ztunnel,
}

impl NodeKind {
    /// The word used on the command line and in node ids.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
            Self::Waypoint => "waypoint",
            Self::Ztunnel => "ztunnel",
        }
    }
}

impl FromStr for NodeKind {
    type Err = NodeIdError;
    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        [Self::Sidecar, Self::Router, Self::Waypoint, Self::Ztunnel]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| NodeIdError::Kind(text.to_owned()))
    }
}

/// `sidecar~10.1.1.1~pod.namespace~namespace.svc.cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// Sidecar or gateway.
    pub kind: NodeKind,
    /// The pod's first address.
    pub ip: IpAddr,
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// The DNS suffix of the pod's namespace: `default.svc.cluster.local`.
    pub dns_domain: String,
}

/// Why a node id was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// Not four parts.
    #[error("node id {0:?}: expected <kind>~<ip>~<pod>.<namespace>~<domain>")]
    Shape(String),
    /// The first part.
    #[error("node kind {0:?}: expected sidecar, router, waypoint or ztunnel")]
    Kind(String),
    /// The second part.
    #[error("node address {0:?}: expected an IPv4 or IPv6 address")]
    Address(String),
    /// The third part.
    #[error("node name {0:?}: expected <pod>.<namespace>")]
    Name(String),
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let parts: Vec<&str> = text.split('~').collect();
        let [kind, ip, full_name, dns_domain] = parts[..] else {
            return Err(NodeIdError::Shape(text.to_owned()));
        };
        let kind = kind.parse()?;
        let ip = ip.parse().map_err(|_| NodeIdError::Address(ip.to_owned()))?;
        let (name, namespace) = full_name
            .rsplit_once('.')
            .filter(|(name, namespace)| !name.is_empty() && !namespace.is_empty())
            .ok_or_else(|| NodeIdError::Name(full_name.to_owned()))?;
        Ok(Self {
            kind,
            ip,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            dns_domain: dns_domain.to_owned(),
        })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, ip, name, namespace, dns_domain } = self;
        write!(f, "{}~{ip}~{name}.{namespace}~{dns_domain}", kind.as_str())
    }
}

/// `Node.metadata`, under Istio's keys. Keys we do not model are kept in `extra`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub struct NodeMetadata {
    /// Pod name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Pod namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Pod labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::map")]
    pub labels: BTreeMap<String, String>,
    /// Pod annotations that the agent passes on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::map")]
    pub annotations: BTreeMap<String, String>,
    /// API path of the workload: `kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Name of the workload (Deployment, Job, …).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload_name: String,
    /// Kubernetes service account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
    /// Cluster the pod runs in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    /// Network the pod is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Release that the proxy is compatible with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub istio_version: String,
    /// Version of the proxy itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub istio_proxy_sha: String,
    /// Mesh the pod belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mesh_id: String,
    /// Control plane revision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub istio_revision: String,
    /// All addresses of the pod, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance_ips: String,
    /// `REDIRECT`, `TPROXY` or `NONE`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interception_mode: String,
    /// Containers of the application, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_containers: String,
    /// Container ports as JSON text: `[{"containerPort":9080}]`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_ports: String,
    /// Node of Kubernetes the pod runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// The effective `ProxyConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_config: Option<Value>,
    /// CPU limit of the proxy's container, as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform_metadata: String,
    /// Deliver DNS names for capture: `true`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dns_capture: String,
    /// Where the proxy's certificate comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pilot_san: String,
    /// Service accounts, cluster ports and everything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl NodeMetadata {
    /// Reads the metadata of a node. Values of an unexpected type are an error that names the key.
    ///
    /// # Errors
    /// When a modelled key holds a value of another type.
    pub fn from_struct(metadata: &Struct) -> Result<Self, serde_json::Error> {
        serde_json::from_value(Value::Object(structs::to_map(metadata)))
    }

    /// The metadata as it goes into `Node.metadata`.
    pub fn to_struct(&self) -> Struct {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => structs::from_map(&map),
            _ => structs::from_map(&Map::new()),
        }
    }

    /// Who makes this node's resources: `grpc` for gRPC's own xDS clients, empty for proxies.
    pub fn generator(&self) -> &str {
        self.extra.get("GENERATOR").and_then(Value::as_str).unwrap_or_default()
    }

    /// Does the proxy want HTTP/1.0 taken: `HTTP10` is 1?
    pub fn accepts_http10(&self) -> bool {
        self.extra.get("HTTP10").and_then(Value::as_str) == Some("1")
    }

    /// Addresses of the pod, those that parse.
    pub fn ips(&self) -> Vec<IpAddr> {
        self.instance_ips.split(',').filter_map(|ip| ip.trim().parse().ok()).collect()
    }
}

mod lenient {
    //! Label values are strings in Kubernetes; in metadata written by hand they may be numbers or booleans.
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer};
    use serde_json::Value;

    pub fn map<'de, D: Deserializer<'de>>(de: D) -> Result<BTreeMap<String, String>, D::Error> {
        let raw = Option::<BTreeMap<String, Value>>::deserialize(de)?.unwrap_or_default();
        Ok(raw.into_iter().map(|(key, value)| (key, text(value))).collect())
    }

    fn text(value: Value) -> String {
        match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
