//! Clusters: where traffic can go, and how it is spread, limited and secured on the way.

use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::any;
use meltemi_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use meltemi_proto::envoy::config::cluster::v3::{Cluster, Filter};
use meltemi_proto::istio::metadata_exchange::MetadataExchange;

use crate::capabilities::Capabilities;
use crate::{names, wire};

mod inbound;
mod outbound;
mod policy;
mod protocol;
mod upstream_tls;

pub(crate) use outbound::discovery;
pub use outbound::{ClusterSpec, config_path, specs};
pub(crate) use upstream_tls::identities;

/// All clusters of a proxy, in a fixed order.
pub fn clusters(snapshot: &Snapshot, view: &ProxyView) -> Vec<Cluster> {
    let mut clusters = outbound::clusters(snapshot, view);
    clusters.push(black_hole(snapshot));
    if !view.is_router() {
        clusters.push(passthrough(snapshot, view));
        clusters.extend(inbound::clusters(snapshot, view));
    }
    clusters
}

/// The parts that every cluster has.
fn base(snapshot: &Snapshot, name: String, kind: DiscoveryType) -> Cluster {
    let connect_timeout =
        snapshot.settings.mesh.connect_timeout.unwrap_or(meltemi_config::Duration::from_secs(10));
    let lb_policy = match kind {
        DiscoveryType::OriginalDst => LbPolicy::ClusterProvided,
        _ => LbPolicy::RoundRobin,
    };
    Cluster {
        name,
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind as i32)),
        connect_timeout: Some(wire::duration(connect_timeout.to_std())),
        lb_policy: lb_policy as i32,
        ..Default::default()
    }
}

fn black_hole(snapshot: &Snapshot) -> Cluster {
    base(snapshot, names::BLACK_HOLE.to_owned(), DiscoveryType::Static)
}

/// Where the application dialled; the proxy keeps the protocol that it saw.
fn passthrough(snapshot: &Snapshot, view: &ProxyView) -> Cluster {
    let mut cluster = base(snapshot, names::PASSTHROUGH.to_owned(), DiscoveryType::OriginalDst);
    cluster.circuit_breakers = Some(policy::no_limits());
    cluster.filters = metadata_filters(Capabilities::of(view));
    protocol::follow_client(&mut cluster);
    cluster
}

/// The filter by which peers tell each other who they are on TCP connections.
fn metadata_filters(capabilities: Capabilities) -> Vec<Filter> {
    if !capabilities.tcp_metadata {
        return Vec::new();
    }
    let config =
        MetadataExchange { protocol: crate::tls::ALPN_PEER_EXCHANGE.to_owned(), ..Default::default() };
    vec![Filter {
        name: "istio.metadata_exchange".to_owned(),
        typed_config: Some(any::pack(&config)),
        ..Default::default()
    }]
}
