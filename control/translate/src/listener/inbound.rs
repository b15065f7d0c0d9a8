//! `virtualInbound`: everything that comes to the workload.

use std::collections::BTreeMap;

use meltemi_mesh::view::Target;
use meltemi_mesh::{MtlsMode, Protocol, ProxyView, Snapshot};
use meltemi_proto::envoy::config::core::v3::{TrafficDirection, TransportSocket};
use meltemi_proto::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
use meltemi_proto::ports;

use super::http::{Routes, Side, manager};
use super::{PLAIN_HTTP, access_log, inspectors, looks_like, tcp};
use crate::capabilities::Capabilities;
use crate::route::inbound_route;
use crate::{names, tls, wire};

/// What a port of the workload is for the chains that serve it.
struct Served<'a> {
    /// `None` for the chains of all ports that no service names.
    port: Option<u16>,
    name: String,
    cluster: String,
    protocol: Protocol,
    target: Option<&'a Target>,
}

/// The listener.
pub(super) fn listener(snapshot: &Snapshot, view: &ProxyView) -> Listener {
    let mut served: BTreeMap<u16, Served<'_>> = BTreeMap::new();
    for target in view.targets.iter().filter(|t| t.port.protocol != Protocol::Udp) {
        // The first service (by host name) decides about a port that several share.
        served.entry(target.workload_port).or_insert_with(|| Served {
            port: Some(target.workload_port),
            name: format!("{}_{}", super::wildcard(view), target.workload_port),
            cluster: names::inbound(target.workload_port),
            protocol: target.port.protocol,
            target: Some(target),
        });
    }
    let ip = super::wildcard(view);
    let mut listener =
        super::base(names::VIRTUAL_INBOUND.to_owned(), ip, ports::INBOUND, TrafficDirection::Inbound);
    listener.filter_chains.push(black_hole(snapshot, view));
    let rest = Served {
        port: None,
        name: "virtualInbound".to_owned(),
        cluster: names::INBOUND_PASSTHROUGH.to_owned(),
        protocol: Protocol::Auto,
        target: None,
    };
    listener.filter_chains.extend(chains(snapshot, view, &rest, view.peer.default));
    for (port, served) in &served {
        listener.filter_chains.extend(chains(snapshot, view, served, view.peer.mode(*port)));
    }
    let silent: Vec<u16> = served
        .values()
        .filter(|s| !s.protocol.is_http() && s.protocol != Protocol::Auto)
        .filter_map(|s| s.port)
        .collect();
    listener.listener_filters = vec![
        inspectors::original_destination(),
        inspectors::tls(),
        inspectors::except_ports(inspectors::http(), &silent),
    ];
    let timeout = snapshot.settings.mesh.protocol_detection_timeout.unwrap_or_default();
    inspectors::patient(&mut listener, timeout.to_std());
    listener.access_log = access_log::unmatched(snapshot, view, true);
    listener
}

/// Connections to the listener's own port would come back for ever.
fn black_hole(snapshot: &Snapshot, view: &ProxyView) -> FilterChain {
    FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: wire::u32(ports::INBOUND.into()),
            ..Default::default()
        }),
        filters: tcp::filters(snapshot, view, Side::Inbound, names::BLACK_HOLE),
        ..Default::default()
    }
}

/// One way in: what the connection looks like, whether its TLS ends here, and whether it is read as HTTP.
struct Way {
    transport: &'static str,
    applications: Vec<&'static str>,
    terminate: bool,
    http: bool,
}

/// The ways into a port. What no way describes is refused, which is how STRICT refuses plain text.
fn ways(protocol: Protocol, mode: MtlsMode) -> Vec<Way> {
    let way = |transport, applications: &[&'static str], terminate, http| Way {
        transport,
        applications: applications.to_vec(),
        terminate,
        http,
    };
    let mesh_tcp = [tls::ALPN_PEER_EXCHANGE, tls::ALPN_MESH];
    let mesh_http = tls::ALPN_MESH_HTTP;
    let mesh_any: Vec<&'static str> = mesh_tcp.into_iter().chain(mesh_http).collect();
    let sniffed = protocol == Protocol::Auto;
    let http = protocol.is_http();
    match mode {
        MtlsMode::Strict if sniffed => vec![way("tls", &mesh_http, true, true), way("tls", &[], true, false)],
        MtlsMode::Strict => vec![way("tls", &[], true, http)],
        MtlsMode::Permissive if sniffed => vec![
            way("tls", &mesh_http, true, true),
            way("raw_buffer", &PLAIN_HTTP, false, true),
            way("tls", &mesh_tcp, true, false),
            way("raw_buffer", &[], false, false),
            way("tls", &[], false, false),
        ],
        MtlsMode::Permissive if http => {
            vec![way("tls", &mesh_any, true, true), way("raw_buffer", &[], false, true)]
        }
        MtlsMode::Permissive => vec![
            way("tls", &mesh_any, true, false),
            way("tls", &[], false, false),
            way("raw_buffer", &[], false, false),
        ],
        MtlsMode::Disable if sniffed => {
            vec![way("raw_buffer", &PLAIN_HTTP, false, true), way("", &[], false, false)]
        }
        MtlsMode::Disable => vec![way("", &[], false, http)],
    }
}

fn chains(snapshot: &Snapshot, view: &ProxyView, served: &Served<'_>, mode: MtlsMode) -> Vec<FilterChain> {
    let one = |way: Way| {
        let mut matches = looks_like(way.transport, &way.applications);
        matches.destination_port = served.port.and_then(|port| wire::u32(port.into()));
        let name = match (served.port, way.http) {
            (Some(_), _) => served.name.clone(),
            (None, true) => "virtualInbound-catchall-http".to_owned(),
            (None, false) => "virtualInbound".to_owned(),
        };
        FilterChain {
            filter_chain_match: Some(matches),
            filters: filters(snapshot, view, served, way.http),
            transport_socket: way.terminate.then(|| mesh_tls(snapshot, view, way.http)),
            name,
            ..Default::default()
        }
    };
    ways(served.protocol, mode).into_iter().map(one).collect()
}

fn filters(
    snapshot: &Snapshot,
    view: &ProxyView,
    served: &Served<'_>,
    http: bool,
) -> Vec<meltemi_proto::envoy::config::listener::v3::Filter> {
    if !http {
        return tcp::filters(snapshot, view, Side::Inbound, &served.cluster);
    }
    let prefix = match served.port {
        Some(port) => format!("inbound_{}_{port}", super::wildcard(view)),
        None => names::INBOUND_PASSTHROUGH.to_owned(),
    };
    let routes = Routes::Inline(Box::new(inbound_route(&served.cluster, served.target)));
    vec![manager(snapshot, view, Side::Inbound, &prefix, routes)]
}

/// Mutual TLS with a certificate of the mesh on both sides.
fn mesh_tls(snapshot: &Snapshot, view: &ProxyView, http: bool) -> TransportSocket {
    let mesh = &snapshot.settings.mesh;
    let domains = std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases);
    let names = tls::uri_names(domains.map(|domain| wire::prefix(&format!("spiffe://{domain}/"))));
    let alpn: &[&str] = match (http, Capabilities::of(view).tcp_metadata) {
        (true, _) => &["h2", "http/1.1"],
        (false, true) => &[tls::ALPN_PEER_EXCHANGE, "h2", "http/1.1", tls::ALPN_MESH],
        // Clients that offer nothing else must find something in common.
        (false, false) => &["h2", "http/1.1", tls::ALPN_MESH],
    };
    tls::downstream(&DownstreamTlsContext {
        common_tls_context: Some(tls::mesh_context(alpn, names)),
        require_client_certificate: wire::bool(true),
        ..Default::default()
    })
}
