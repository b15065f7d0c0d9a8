//! Endpoints: a sidecar's, without those that gRPC would refuse the whole assignment for.

use std::collections::BTreeSet;

use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::core::v3::address::Address;
use meltemi_proto::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use meltemi_proto::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint};

use crate::endpoint;
use crate::resource::Names;

/// The endpoints of the clusters named.
pub fn named(snapshot: &Snapshot, view: &ProxyView, names: &BTreeSet<String>) -> Vec<ClusterLoadAssignment> {
    let mut all = endpoint::endpoints(snapshot, view, &Names::Only(names));
    for group in all.iter_mut().flat_map(|assignment| &mut assignment.endpoints) {
        group.lb_endpoints.retain(has_ip);
        for endpoint in &mut group.lb_endpoints {
            // For proxies.
            endpoint.metadata = None;
        }
    }
    all
}

fn has_ip(endpoint: &LbEndpoint) -> bool {
    let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { return false };
    match endpoint.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(socket)) => socket.address.parse::<std::net::IpAddr>().is_ok(),
        _ => false,
    }
}
