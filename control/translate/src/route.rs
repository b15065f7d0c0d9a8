//! Route configurations: which request goes to which cluster, and what is done to it on the way.

use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

use crate::resource::Names;
use crate::wire;

mod action;
mod domains;
mod filters;
mod gateway;
mod http;
mod inbound;
mod matching;
mod outbound;
mod retry;

pub use inbound::inbound_route;
pub(crate) use matching::any_request;
pub(crate) use outbound::of_service;

/// Largest body of a direct response, in bytes.
const MAX_DIRECT_RESPONSE: u32 = 1_048_576;

/// The route configurations named, or all that the proxy's listeners ask for.
pub fn routes(snapshot: &Snapshot, view: &ProxyView, wanted: &Names<'_>) -> Vec<RouteConfiguration> {
    if view.is_router() {
        return gateway::routes(snapshot, view, wanted);
    }
    match wanted {
        Names::Only(names) => outbound::routes(snapshot, view, names.iter()),
        Names::All => outbound::routes(snapshot, view, outbound::names(view).iter()),
    }
}

/// A route configuration around virtual hosts.
fn configuration(name: &str, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        // A route may be pushed before its cluster is; that must not take the others down.
        validate_clusters: wire::bool(false),
        max_direct_response_body_size_bytes: wire::u32(MAX_DIRECT_RESPONSE),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}
