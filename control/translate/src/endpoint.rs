//! Endpoints of clusters, grouped by locality.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use meltemi_mesh::labels;
use meltemi_mesh::peer_authentication::{self, MtlsMode};
use meltemi_mesh::{Endpoint, Health, Locality, ProxyView, Snapshot};
use meltemi_proto::envoy::config::cluster::v3::cluster::DiscoveryType;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::config::endpoint::v3;

use crate::cluster::ClusterSpec;
use crate::resource::Names;
use crate::{cluster, names, wire};

/// The filter metadata by which a cluster chooses the transport socket of an endpoint.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// The endpoints of the clusters named. A cluster that the proxy may not see has none.
pub fn endpoints(
    snapshot: &Snapshot,
    view: &ProxyView,
    wanted: &Names<'_>,
) -> Vec<v3::ClusterLoadAssignment> {
    match wanted {
        Names::All => {
            let specs = view.services.iter().flat_map(|s| cluster::specs(snapshot, view, s));
            let by_eds = specs.filter(|spec| cluster::discovery(view, spec) == DiscoveryType::Eds);
            by_eds.map(|spec| assignment(snapshot, view, &spec)).collect()
        }
        Names::Only(wanted) => wanted.iter().map(|name| named(snapshot, view, name)).collect(),
    }
}

fn named(snapshot: &Snapshot, view: &ProxyView, name: &str) -> v3::ClusterLoadAssignment {
    let empty = || v3::ClusterLoadAssignment { cluster_name: name.to_owned(), ..Default::default() };
    let Some(parsed) = names::parse_outbound(name) else { return empty() };
    let Some(service) = view.service(parsed.hostname) else { return empty() };
    let specs = cluster::specs(snapshot, view, service);
    let spec = specs.iter().find(|s| s.port.number == parsed.port && s.subset_name() == parsed.subset);
    spec.map_or_else(empty, |spec| assignment(snapshot, view, spec))
}

/// The endpoints of one cluster.
pub fn assignment(
    snapshot: &Snapshot,
    view: &ProxyView,
    spec: &ClusterSpec<'_>,
) -> v3::ClusterLoadAssignment {
    let subset = spec.subset.and_then(|name| spec.rule?.subset(name)).map(|s| &s.labels);
    let all = snapshot.endpoints_of(&spec.service.key);
    let of_port = all.map(|e| e.of_port(spec.port.number)).unwrap_or_default();
    let mut by_locality: BTreeMap<&Locality, Vec<&Arc<Endpoint>>> = BTreeMap::new();
    for endpoint in of_port {
        let chosen = subset.is_none_or(|wanted| labels::contains(&endpoint.labels, wanted));
        // A name among the addresses would make Envoy refuse them all.
        let dialable = spec.service.is_dns() || is_address(&endpoint.address);
        if chosen && dialable && endpoint.health == Health::Ready {
            by_locality.entry(&endpoint.locality).or_default().push(endpoint);
        }
    }
    let policies = Policies { snapshot };
    let mut groups: Vec<v3::LocalityLbEndpoints> =
        by_locality.into_iter().map(|(locality, list)| group(&policies, spec, locality, &list)).collect();
    if spec.policy.outlier_detection.is_some() {
        prefer_near(snapshot, view, spec, &mut groups);
    }
    v3::ClusterLoadAssignment { cluster_name: spec.name(), endpoints: groups, ..Default::default() }
}

/// Nobody resolves what comes by EDS.
fn is_address(address: &str) -> bool {
    address.starts_with("unix://") || address.parse::<IpAddr>().is_ok()
}

fn group(
    policies: &Policies<'_>,
    spec: &ClusterSpec<'_>,
    locality: &Locality,
    endpoints: &[&Arc<Endpoint>],
) -> v3::LocalityLbEndpoints {
    let lb_endpoints: Vec<_> = endpoints.iter().map(|e| lb_endpoint(policies, spec, e)).collect();
    let weight = endpoints.iter().fold(0u32, |sum, e| sum.saturating_add(e.weight.max(1)));
    let locality = core::Locality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    };
    v3::LocalityLbEndpoints {
        locality: Some(locality),
        lb_endpoints,
        load_balancing_weight: wire::u32(weight),
        ..Default::default()
    }
}

fn lb_endpoint(policies: &Policies<'_>, spec: &ClusterSpec<'_>, endpoint: &Endpoint) -> v3::LbEndpoint {
    let address = match endpoint.address.strip_prefix("unix://") {
        Some(path) => wire::pipe(path),
        None => wire::address(&endpoint.address, endpoint.port),
    };
    v3::LbEndpoint {
        host_identifier: Some(v3::lb_endpoint::HostIdentifier::Endpoint(v3::Endpoint {
            address: Some(address),
            ..Default::default()
        })),
        load_balancing_weight: wire::u32(endpoint.weight.max(1)),
        metadata: metadata(policies, spec, endpoint),
        ..Default::default()
    }
}

fn metadata(policies: &Policies<'_>, spec: &ClusterSpec<'_>, endpoint: &Endpoint) -> Option<core::Metadata> {
    let mut filters = BTreeMap::new();
    if !spec.service.external && policies.accepts_mesh_tls(endpoint) {
        filters.insert(SOCKET_MATCH, wire::fields([("tlsMode", wire::string("istio"))]));
    }
    if !endpoint.workload_name.is_empty() {
        let name = labels::canonical_name(&endpoint.labels, &endpoint.workload_name);
        let revision = labels::canonical_revision(&endpoint.labels);
        let cluster = &policies.snapshot.settings.cluster_id;
        let workload =
            format!("{};{};{name};{revision};{cluster}", endpoint.workload_name, endpoint.namespace);
        filters.insert(wire::ISTIO, wire::fields([("workload", wire::string(workload))]));
    }
    (!filters.is_empty()).then(|| wire::metadata(filters))
}

/// PeerAuthentications as clients must know them.
struct Policies<'a> {
    snapshot: &'a Snapshot,
}

impl Policies<'_> {
    /// An endpoint whose policy is DISABLE takes plain text only, whatever its proxy could do.
    fn accepts_mesh_tls(&self, endpoint: &Endpoint) -> bool {
        if !endpoint.mesh_tls {
            return false;
        }
        if self.snapshot.peer_authentications.is_empty() {
            return true;
        }
        let policy = peer_authentication::effective(self.snapshot, &endpoint.namespace, &endpoint.labels);
        policy.mode(endpoint.port) != MtlsMode::Disable
    }
}

/// Gives near localities priority over far ones. Only with outlier detection: without it a proxy would never learn
/// that a near locality fails.
fn prefer_near(
    snapshot: &Snapshot,
    view: &ProxyView,
    spec: &ClusterSpec<'_>,
    groups: &mut [v3::LocalityLbEndpoints],
) {
    let own = spec.policy.load_balancer.as_ref().and_then(|lb| lb.locality_lb_setting.as_ref());
    let setting = own.or(snapshot.settings.mesh.locality_lb_setting.as_ref());
    let enabled = setting.is_none_or(|s| s.enabled.unwrap_or(true));
    if !enabled || setting.is_some_and(|s| !s.distribute.is_empty()) || view.locality.region.is_empty() {
        return;
    }
    let failover = |region: &str| {
        let rules = setting.map(|s| s.failover.as_slice()).unwrap_or_default();
        rules.iter().any(|rule| rule.from == view.locality.region && rule.to == region)
    };
    let distances: Vec<u32> =
        groups.iter().map(|g| distance(&view.locality, g.locality.as_ref(), &failover)).collect();
    // Envoy wants priorities without gaps.
    let mut used = distances.clone();
    used.sort_unstable();
    used.dedup();
    for (group, distance) in groups.iter_mut().zip(distances) {
        let priority = used.binary_search(&distance).unwrap_or(0);
        group.priority = u32::try_from(priority).unwrap_or(0);
    }
}

fn distance(own: &Locality, other: Option<&core::Locality>, failover: &impl Fn(&str) -> bool) -> u32 {
    let Some(other) = other else { return 4 };
    if other.region != own.region {
        return if failover(&other.region) { 3 } else { 4 };
    }
    match (other.zone == own.zone, other.sub_zone == own.sub_zone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}
