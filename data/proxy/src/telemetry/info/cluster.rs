//! What is known of a cluster.

use std::sync::Arc;

use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::google::protobuf::value::Kind;
use meltemi_proto::structs;

/// What telemetry needs of a cluster, compiled with it: its name and the service it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterTags {
    /// The cluster's name (`%UPSTREAM_CLUSTER_RAW%`).
    pub name: Arc<str>,
    /// The name for statistics and `%UPSTREAM_CLUSTER%`: `alt_stat_name` if given.
    pub observability_name: Arc<str>,
    /// `metadata.filter_metadata.istio.services[0]`.
    pub service: Option<ServiceTags>,
    /// What is sent there leaves the mesh: it must not carry our workload's metadata.
    pub outside: bool,
}

/// A service as Istio's cluster metadata names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTags {
    /// `reviews.default.svc.cluster.local`
    pub host: Arc<str>,
    /// `reviews`
    pub name: Arc<str>,
    /// `default`
    pub namespace: Arc<str>,
}

impl ClusterTags {
    /// Reads a cluster's name and metadata.
    pub fn compile(cluster: &Cluster) -> Self {
        let name: Arc<str> = cluster.name.as_str().into();
        let observability_name = if cluster.alt_stat_name.is_empty() {
            name.clone()
        } else {
            cluster.alt_stat_name.as_str().into()
        };
        let flag = |key: &str| {
            let istio = cluster.metadata.as_ref().and_then(|metadata| metadata.filter_metadata.get("istio"));
            let value = istio.and_then(|istio| istio.fields.get(key)).and_then(|value| value.kind.as_ref());
            matches!(value, Some(Kind::BoolValue(true)))
        };
        let outside = &*name == "PassthroughCluster" || flag("external") || flag("disable_mx");
        ClusterTags { name, observability_name, service: service(cluster), outside }
    }
}

fn service(cluster: &Cluster) -> Option<ServiceTags> {
    let istio = cluster.metadata.as_ref()?.filter_metadata.get("istio")?;
    let Some(Kind::ListValue(services)) = &istio.fields.get("services")?.kind else { return None };
    let Some(Kind::StructValue(first)) = &services.values.first()?.kind else { return None };
    let field = |key: &str| structs::string(first, key).unwrap_or_default().into();
    Some(ServiceTags { host: field("host"), name: field("name"), namespace: field("namespace") })
}
