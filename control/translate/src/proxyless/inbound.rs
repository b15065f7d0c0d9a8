//! What a server asks for: the listener of the address that it serves.

use meltemi_mesh::{MtlsMode, ProxyView};
use meltemi_proto::any;
use meltemi_proto::envoy::config::listener::v3::{FilterChain, Listener};
use meltemi_proto::envoy::config::route::v3::{
    NonForwardingAction, Route, RouteConfiguration, VirtualHost, route::Action,
};
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3;
use v3::http_connection_manager::RouteSpecifier;

use super::{listeners, tls};
use crate::{listener, route, wire};

/// What the names of such listeners begin with; the address follows.
pub const PREFIX: &str = "xds.istio.io/grpc/lds/inbound/";
/// By this label a workload says that it speaks the mesh's TLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";

/// The listener of an address, if a service names its port. A server without one does not serve.
pub fn listener(view: &ProxyView, name: &str, address: &str) -> Option<Listener> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    view.targets.iter().find(|target| target.workload_port == port)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Listener {
        name: name.to_owned(),
        // The server compares it with the address that it listens on.
        address: Some(wire::address(host, port)),
        filter_chains: vec![chain(mode(view, port))],
        ..Default::default()
    })
}

/// gRPC's servers cannot take both plain text and TLS on a port. Where both are allowed, the workload's label decides,
/// since clients go by it too.
fn mode(view: &ProxyView, port: u16) -> MtlsMode {
    match view.peer.mode(port) {
        MtlsMode::Permissive if view.labels.get(TLS_MODE).is_some_and(|mode| mode == "istio") => {
            MtlsMode::Strict
        }
        MtlsMode::Permissive => MtlsMode::Disable,
        decided => decided,
    }
}

fn chain(mode: MtlsMode) -> FilterChain {
    let mutual = mode == MtlsMode::Strict;
    let everything = Route {
        r#match: Some(route::any_request()),
        action: Some(Action::NonForwardingAction(NonForwardingAction {})),
        ..Default::default()
    };
    let manager = v3::HttpConnectionManager {
        http_filters: vec![listeners::router()],
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration {
            name: "inbound".to_owned(),
            virtual_hosts: vec![VirtualHost {
                domains: vec!["*".to_owned()],
                routes: vec![everything],
                ..Default::default()
            }],
            ..Default::default()
        })),
        ..Default::default()
    };
    let manager = listener::filter("envoy.filters.network.http_connection_manager", any::pack(&manager));
    FilterChain {
        name: if mutual { "inbound-mtls" } else { "inbound-plaintext" }.to_owned(),
        filters: vec![manager],
        transport_socket: mutual.then(tls::server),
        ..Default::default()
    }
}
