//! One cluster for every port of every visible service, and one more for every subset.

use std::collections::BTreeMap;

use meltemi_config::istio::destination_rule::{ClientTlsMode, SimpleLb};
use meltemi_mesh::destination_rule::{DestinationRule, Policy};
use meltemi_mesh::service::Service;
use meltemi_mesh::{Port, Protocol, ProxyView, Resolution, Snapshot};
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig,
};

use super::{policy, protocol, upstream_tls};
use crate::capabilities::Capabilities;
use crate::{endpoint, names, wire};

/// What an outbound cluster is made from.
pub struct ClusterSpec<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its port.
    pub port: &'a Port,
    /// The rule that applies.
    pub rule: Option<&'a DestinationRule>,
    /// The subset, if this is not the cluster of the whole service.
    pub subset: Option<&'a str>,
    /// The policy for this port and subset.
    pub policy: Policy,
}

impl<'a> ClusterSpec<'a> {
    /// The cluster's name.
    pub fn name(&self) -> String {
        names::outbound(self.port.number, self.subset_name(), &self.service.key.hostname)
    }

    /// The subset's name; empty for the whole service.
    pub fn subset_name(&self) -> &str {
        self.subset.unwrap_or("")
    }

    /// What is known of the HTTP behind it.
    pub fn upstream(&self) -> protocol::Upstream<'_> {
        let tls = self.policy.tls.as_ref();
        let user_tls = tls.filter(|t| matches!(t.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual));
        protocol::Upstream {
            protocol: self.port.protocol,
            settings: self.policy.connection_pool.as_ref().and_then(|pool| pool.http.as_ref()),
            sni_from_host: user_tls.is_some_and(|t| t.sni.is_empty()),
            names_from_host: user_tls
                .is_some_and(|t| t.subject_alt_names.is_empty() && t.insecure_skip_verify != Some(true)),
        }
    }

    fn new(
        view: &ProxyView,
        snapshot: &'a Snapshot,
        service: &'a Service,
        port: &'a Port,
    ) -> ClusterSpec<'a> {
        let rule = view.destination_rule(snapshot, service).map(std::convert::AsRef::as_ref);
        ClusterSpec {
            service,
            port,
            rule,
            subset: None,
            policy: effective(snapshot, rule, None, port.number),
        }
    }

    fn of_subset(&self, snapshot: &Snapshot, subset: &'a str) -> ClusterSpec<'a> {
        let policy = effective(snapshot, self.rule, Some(subset), self.port.number);
        ClusterSpec { service: self.service, port: self.port, rule: self.rule, subset: Some(subset), policy }
    }
}

fn effective(snapshot: &Snapshot, rule: Option<&DestinationRule>, subset: Option<&str>, port: u16) -> Policy {
    let own = rule.map(|rule| rule.policy(subset, port)).unwrap_or_default();
    own.over(Policy::of(snapshot.settings.mesh.default_traffic_policy.as_ref(), port))
}

/// What the clusters of a service are made from: the whole service and its subsets, for every port.
pub fn specs<'a>(snapshot: &'a Snapshot, view: &ProxyView, service: &'a Service) -> Vec<ClusterSpec<'a>> {
    let mut specs = Vec::new();
    for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
        let whole = ClusterSpec::new(view, snapshot, service, port);
        let subsets = whole.rule.map(|rule| rule.subsets.as_slice()).unwrap_or_default();
        let subsets: Vec<_> = subsets.iter().map(|subset| whole.of_subset(snapshot, &subset.name)).collect();
        specs.push(whole);
        specs.extend(subsets);
    }
    specs
}

/// All outbound clusters of a proxy.
pub(super) fn clusters(snapshot: &Snapshot, view: &ProxyView) -> Vec<Cluster> {
    let capabilities = Capabilities::of(view);
    let mut clusters = Vec::new();
    for service in view.services.iter() {
        for spec in specs(snapshot, view, service) {
            clusters.push(cluster(snapshot, view, &spec, capabilities));
        }
    }
    clusters
}

fn cluster(
    snapshot: &Snapshot,
    view: &ProxyView,
    spec: &ClusterSpec<'_>,
    capabilities: Capabilities,
) -> Cluster {
    let mut cluster = super::base(snapshot, spec.name(), discovery(view, spec));
    discover(&mut cluster, snapshot, view, spec);
    let pool = spec.policy.connection_pool.as_ref();
    cluster.circuit_breakers = Some(policy::limits(pool));
    policy::connections(&mut cluster, pool);
    policy::load_balancer(&mut cluster, spec.policy.load_balancer.as_ref());
    policy::outliers(&mut cluster, spec.policy.outlier_detection.as_ref());
    protocol::apply(&mut cluster, snapshot, &spec.upstream());
    upstream_tls::apply(&mut cluster, snapshot, spec, capabilities);
    cluster.filters = super::metadata_filters(capabilities);
    cluster.metadata = Some(metadata(spec));
    cluster
}

/// How the endpoints of a cluster are found. A gateway's clients dial the gateway, so it cannot go where they dialled.
pub(crate) fn discovery(view: &ProxyView, spec: &ClusterSpec<'_>) -> DiscoveryType {
    let passthrough = spec.policy.load_balancer.as_ref().is_some_and(|lb| lb.simple == SimpleLb::Passthrough);
    match spec.service.resolution {
        _ if passthrough => DiscoveryType::OriginalDst,
        Resolution::Endpoints => DiscoveryType::Eds,
        Resolution::Passthrough if view.is_router() => DiscoveryType::Eds,
        Resolution::Passthrough => DiscoveryType::OriginalDst,
        Resolution::Dns => DiscoveryType::StrictDns,
        Resolution::DnsRoundRobin => DiscoveryType::LogicalDns,
    }
}

#[allow(
    deprecated,
    reason = "the successors of the DNS fields need a custom cluster type, which Istio's tools do not read"
)]
fn discover(cluster: &mut Cluster, snapshot: &Snapshot, view: &ProxyView, spec: &ClusterSpec<'_>) {
    match discovery(view, spec) {
        DiscoveryType::Eds => {
            cluster.eds_cluster_config =
                Some(EdsClusterConfig { eds_config: Some(wire::ads()), service_name: spec.name() });
        }
        DiscoveryType::StrictDns | DiscoveryType::LogicalDns => {
            let mesh = &snapshot.settings.mesh;
            let refresh = mesh.dns_refresh_rate.unwrap_or(meltemi_config::Duration::from_secs(60));
            cluster.dns_refresh_rate = Some(wire::duration(refresh.to_std()));
            cluster.respect_dns_ttl = true;
            cluster.dns_lookup_family = match view.identity.ips.first() {
                Some(std::net::IpAddr::V6(_)) => DnsLookupFamily::V6Only as i32,
                _ => DnsLookupFamily::V4Only as i32,
            };
            cluster.load_assignment = Some(endpoint::assignment(snapshot, view, spec));
            one_name_for_logical_dns(cluster);
        }
        _ => {}
    }
}

/// LOGICAL_DNS stands for exactly one name; Envoy refuses more, and none.
fn one_name_for_logical_dns(cluster: &mut Cluster) {
    let logical = ClusterDiscoveryType::Type(DiscoveryType::LogicalDns as i32);
    if cluster.cluster_discovery_type != Some(logical) {
        return;
    }
    let Some(assignment) = &mut cluster.load_assignment else { return };
    assignment.endpoints.truncate(1);
    for group in &mut assignment.endpoints {
        group.lb_endpoints.truncate(1);
    }
    if assignment.endpoints.is_empty() {
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns as i32));
    }
}

/// What Istio's tools and metrics read of a cluster.
fn metadata(spec: &ClusterSpec<'_>) -> meltemi_proto::envoy::config::core::v3::Metadata {
    let service = spec.service;
    let entry = wire::object(wire::fields([
        ("host", wire::string(&service.key.hostname)),
        ("name", wire::string(service_name(service))),
        ("namespace", wire::string(&service.key.namespace)),
    ]));
    let mut istio = wire::fields([("services", wire::list(vec![entry]))]);
    let port = meltemi_proto::google::protobuf::value::Kind::NumberValue(f64::from(spec.port.number));
    istio.fields.insert(
        "default_original_port".to_owned(),
        meltemi_proto::google::protobuf::Value { kind: Some(port) },
    );
    if let Some(subset) = spec.subset {
        istio.fields.insert("subset".to_owned(), wire::string(subset));
    }
    if let Some((namespace, name)) = spec.rule.and_then(|rule| rule.sources.first()) {
        istio
            .fields
            .insert("config".to_owned(), wire::string(config_path("destination-rule", namespace, name)));
    }
    if service.external {
        istio.fields.insert(
            "external".to_owned(),
            meltemi_proto::google::protobuf::Value {
                kind: Some(meltemi_proto::google::protobuf::value::Kind::BoolValue(true)),
            },
        );
    }
    wire::metadata(BTreeMap::from([(wire::ISTIO, istio)]))
}

/// The name that metrics show for a service.
pub fn service_name(service: &Service) -> &str {
    match service.origin {
        meltemi_mesh::service::Origin::Kubernetes => &service.name,
        meltemi_mesh::service::Origin::ServiceEntry => &service.key.hostname,
    }
}

/// The API path of an Istio networking object, as Istio's tools show it.
pub fn config_path(kind: &str, namespace: &str, name: &str) -> String {
    format!("/apis/networking.istio.io/v1/namespaces/{namespace}/{kind}/{name}")
}
