//! Endpoints of clusters, grouped by locality.

mod near;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use meltemi_mesh::labels;
use meltemi_mesh::peer_authentication::{self, MtlsMode};
use meltemi_mesh::service::Distribution;
use meltemi_mesh::{Endpoint, Health, Locality, ProxyView, Snapshot};
use meltemi_proto::envoy::config::cluster::v3::cluster::DiscoveryType;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::config::endpoint::v3;

use self::near::Node;
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
    let by_node = near::by_distribution(spec) == Some(Distribution::SameNode);
    let all = snapshot.endpoints_of(&spec.service.key);
    let of_port = all.map(|e| e.of_port(spec.port.number)).unwrap_or_default();
    let mut by_place: BTreeMap<(&Locality, Node), Vec<&Arc<Endpoint>>> = BTreeMap::new();
    for endpoint in of_port {
        let chosen = subset.is_none_or(|wanted| labels::contains(&endpoint.labels, wanted));
        // A name among the addresses would make Envoy refuse them all.
        let dialable = spec.service.is_dns() || is_address(&endpoint.address);
        let reachable = !spec.service.node_local || near::node(view, endpoint) == Node::Own;
        if chosen && dialable && reachable && endpoint.health == Health::Ready {
            let node = if by_node { near::node(view, endpoint) } else { Node::Any };
            by_place.entry((&endpoint.locality, node)).or_default().push(endpoint);
        }
    }
    let policies = Policies { snapshot };
    let places: Vec<_> = by_place.keys().copied().collect();
    let mut groups: Vec<v3::LocalityLbEndpoints> =
        by_place.into_iter().map(|((locality, _), list)| group(&policies, spec, locality, &list)).collect();
    let priorities = near::priorities(snapshot, view, spec, &places);
    for (group, priority) in groups.iter_mut().zip(priorities) {
        group.priority = priority;
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
