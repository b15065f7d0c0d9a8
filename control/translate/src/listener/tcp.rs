//! Network filters for connections whose bytes nobody reads.

use meltemi_config::istio::virtual_service::RouteDestination;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::any;
use meltemi_proto::envoy::config::listener::v3::Filter;
use meltemi_proto::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use meltemi_proto::envoy::r#type::v3::{HashPolicy, hash_policy};
use meltemi_proto::istio::metadata_exchange::MetadataExchange;

use super::http::{Side, stats_config};
use super::{access_log, filter};
use crate::capabilities::Capabilities;
use crate::{destination, wire};

/// The filters of a chain that leads to one cluster.
pub fn filters(snapshot: &Snapshot, view: &ProxyView, side: Side, cluster: &str) -> Vec<Filter> {
    around(
        snapshot,
        view,
        side,
        TcpProxy {
            stat_prefix: cluster.to_owned(),
            cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
            ..of_destination(snapshot, view, cluster)
        },
    )
}

/// The filters of a chain that leads to the destinations of a VirtualService. `port` is where the client connected.
pub fn routed(
    snapshot: &Snapshot,
    view: &ProxyView,
    side: Side,
    route: &[RouteDestination],
    from: destination::From<'_>,
) -> Vec<Filter> {
    let weights = destination::weights(route.iter().map(|r| r.weight));
    let named = route.iter().map(|r| destination::cluster(snapshot, view, &r.destination, from)).zip(weights);
    let named: Vec<(String, u32)> = named.filter(|(_, weight)| *weight > 0).collect();
    if named.is_empty() {
        return filters(snapshot, view, side, crate::names::BLACK_HOLE);
    }
    if let [(cluster, _)] = named.as_slice() {
        return filters(snapshot, view, side, cluster);
    }
    let clusters = named.into_iter().map(|(name, weight)| tcp_proxy::weighted_cluster::ClusterWeight {
        name,
        weight,
        metadata_match: None,
    });
    let clusters: Vec<_> = clusters.collect();
    // What a filter can have only one of is taken from the first destination.
    let stat_prefix = clusters.first().map(|c| c.name.clone()).unwrap_or_default();
    let settings = of_destination(snapshot, view, &stat_prefix);
    around(
        snapshot,
        view,
        side,
        TcpProxy {
            stat_prefix,
            cluster_specifier: Some(tcp_proxy::ClusterSpecifier::WeightedClusters(
                tcp_proxy::WeightedCluster { clusters },
            )),
            ..settings
        },
    )
}

/// What the DestinationRule of a cluster asks of the connections towards it.
fn of_destination(snapshot: &Snapshot, view: &ProxyView, cluster: &str) -> TcpProxy {
    let policy = || {
        let cluster = crate::names::parse_outbound(cluster)?;
        let service = view.destination(cluster.hostname)?;
        let subset = (!cluster.subset.is_empty()).then_some(cluster.subset);
        Some(view.destination_rule(snapshot, service)?.policy(subset, cluster.port))
    };
    let policy = policy().unwrap_or_default();
    let idle = policy.connection_pool.and_then(|pool| pool.tcp).and_then(|tcp| tcp.idle_timeout);
    let hash = policy.load_balancer.and_then(|lb| lb.consistent_hash);
    let by_source = hash.is_some_and(|hash| hash.use_source_ip == Some(true));
    let source = HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp::default())),
    };
    TcpProxy {
        idle_timeout: idle.map(|idle| wire::duration(idle.to_std())),
        hash_policy: by_source.then_some(source).into_iter().collect(),
        ..Default::default()
    }
}

fn around(snapshot: &Snapshot, view: &ProxyView, side: Side, mut proxy: TcpProxy) -> Vec<Filter> {
    proxy.access_log = access_log::logs(snapshot, view, side == Side::Inbound);
    let capabilities = Capabilities::of(view);
    let mut filters = Vec::new();
    if capabilities.tcp_metadata {
        let config = MetadataExchange {
            protocol: crate::tls::ALPN_PEER_EXCHANGE.to_owned(),
            enable_discovery: true,
            ..Default::default()
        };
        filters.push(filter("istio.metadata_exchange", any::pack(&config)));
    }
    if capabilities.stats {
        filters.push(filter("istio.stats", any::pack(&stats_config(side))));
    }
    filters.push(filter("envoy.filters.network.tcp_proxy", any::pack(&proxy)));
    filters
}
