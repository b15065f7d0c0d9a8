//! Clusters: what of a DestinationRule gRPC can do.

use std::collections::BTreeSet;

use meltemi_config::istio::destination_rule::{ClientTlsMode, LoadBalancerSettings, SimpleLb};
use meltemi_mesh::{ProxyView, Resolution, Snapshot};
use meltemi_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use meltemi_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy, RingHashLbConfig,
};
use meltemi_proto::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use meltemi_proto::google::protobuf::UInt64Value;

use super::tls;
use crate::capabilities::Capabilities;
use crate::cluster::{self, ClusterSpec};
use crate::{endpoint, names, wire};

/// The clusters named, those that there are and that gRPC can reach.
pub fn named(snapshot: &Snapshot, view: &ProxyView, names: &BTreeSet<String>) -> Vec<Cluster> {
    let one = |name: &String| {
        let parsed = names::parse_outbound(name)?;
        let service = view.service(parsed.hostname)?;
        let specs = cluster::specs(snapshot, view, service);
        let spec = specs.iter().find(|s| s.port.number == parsed.port && s.subset_name() == parsed.subset)?;
        build(snapshot, view, spec)
    };
    names.iter().filter_map(one).collect()
}

fn build(snapshot: &Snapshot, view: &ProxyView, spec: &ClusterSpec<'_>) -> Option<Cluster> {
    let mut cluster = Cluster { name: spec.name(), ..Default::default() };
    discover(&mut cluster, snapshot, view, spec)?;
    match spec.policy.tls.as_ref().map_or(ClientTlsMode::Disable, |tls| tls.mode) {
        ClientTlsMode::Disable => {}
        ClientTlsMode::IstioMutual => cluster.transport_socket = Some(tls::client(snapshot, spec)),
        // gRPC has its keys from its bootstrap only. Without the cluster calls fail; with it they would go in plain text.
        ClientTlsMode::Simple | ClientTlsMode::Mutual => return None,
    }
    balance(&mut cluster, spec.policy.load_balancer.as_ref(), Capabilities::of(view));
    let http = spec.policy.connection_pool.as_ref().and_then(|pool| pool.http.as_ref());
    let most = http.and_then(|http| u32::try_from(http.http2_max_requests).ok()).filter(|most| *most > 0);
    cluster.circuit_breakers = most.map(|most| CircuitBreakers {
        thresholds: vec![Thresholds { max_requests: wire::u32(most), ..Default::default() }],
        ..Default::default()
    });
    Some(cluster)
}

/// By endpoints; by a single DNS name where the service has only names. Of several names gRPC can take none.
fn discover(
    cluster: &mut Cluster,
    snapshot: &Snapshot,
    view: &ProxyView,
    spec: &ClusterSpec<'_>,
) -> Option<()> {
    let kind = match spec.service.resolution {
        Resolution::Endpoints | Resolution::Passthrough => {
            let source = EdsClusterConfig { eds_config: Some(wire::ads()), service_name: spec.name() };
            cluster.eds_cluster_config = Some(source);
            DiscoveryType::Eds
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            let assignment = endpoint::assignment(snapshot, view, spec);
            let [group] = assignment.endpoints.as_slice() else { return None };
            let [_] = group.lb_endpoints.as_slice() else { return None };
            cluster.load_assignment = Some(assignment);
            DiscoveryType::LogicalDns
        }
    };
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind as i32));
    Some(())
}

/// In turn, which every client can; by hash; and by the fewest requests only if that is asked for and the client can.
fn balance(cluster: &mut Cluster, settings: Option<&LoadBalancerSettings>, capabilities: Capabilities) {
    let Some(settings) = settings else { return };
    if let Some(hash) = &settings.consistent_hash {
        let asked = hash.ring_hash.as_ref().map_or(hash.minimum_ring_size, |ring| ring.minimum_ring_size);
        let size = (asked > 0).then_some(UInt64Value { value: asked });
        let config = RingHashLbConfig { minimum_ring_size: size, ..Default::default() };
        cluster.lb_policy = LbPolicy::RingHash as i32;
        cluster.lb_config = Some(LbConfig::RingHashLbConfig(config));
    } else if matches!(settings.simple, SimpleLb::LeastRequest | SimpleLb::LeastConn)
        && capabilities.least_request
    {
        cluster.lb_policy = LbPolicy::LeastRequest as i32;
    }
}
