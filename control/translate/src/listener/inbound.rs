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
    /// `None` for all ports that nothing else names.
    port: Option<u16>,
    name: String,
    cluster: String,
    protocol: Protocol,
    /// The service port behind it; `None` when no service names the port.
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
    let port = super::own_port(snapshot.settings.mesh.proxy_inbound_listen_port, ports::INBOUND);
    let mut listener = super::base(names::VIRTUAL_INBOUND.to_owned(), ip, port, TrafficDirection::Inbound);
    listener.filter_chains.push(black_hole(snapshot, view, port));
    listener.filter_chains.extend(chains(snapshot, view, &unserved(None), view.peer.default));
    for (port, served) in &served {
        listener.filter_chains.extend(chains(snapshot, view, served, view.peer.mode(*port)));
    }
    // A mode set for a port holds whether or not a service names the port.
    for (port, mode) in view.peer.ports.iter().filter(|(port, _)| !served.contains_key(port)) {
        listener.filter_chains.extend(chains(snapshot, view, &unserved(Some(*port)), *mode));
    }
    // Where nothing is to be found out, nobody waits for the client's first bytes: the server may speak first.
    let declared = served.iter().filter(|(_, s)| s.protocol != Protocol::Auto).map(|(port, _)| *port);
    let declared: Vec<u16> = declared.collect();
    let plain: Vec<u16> =
        declared.iter().copied().filter(|port| view.peer.mode(*port) == MtlsMode::Disable).collect();
    listener.listener_filters = vec![
        inspectors::original_destination(),
        inspectors::except_ports(inspectors::tls(), &plain),
        inspectors::except_ports(inspectors::http(), &declared),
    ];
    if is_transparent(view) {
        listener.transparent = wire::bool(true);
        listener.listener_filters.insert(1, inspectors::original_source());
    }
    let timeout = snapshot.settings.mesh.protocol_detection_timeout.unwrap_or_default();
    inspectors::patient(&mut listener, timeout.to_std());
    listener.access_log = access_log::unmatched(snapshot, view, true);
    listener
}

/// Are connections captured by TPROXY, which keeps both of their addresses?
fn is_transparent(view: &ProxyView) -> bool {
    view.identity.metadata.interception_mode == "TPROXY"
}

/// A port that no service names, or all of them.
fn unserved(port: Option<u16>) -> Served<'static> {
    Served {
        port,
        name: names::VIRTUAL_INBOUND.to_owned(),
        cluster: names::INBOUND_PASSTHROUGH.to_owned(),
        protocol: Protocol::Auto,
        target: None,
    }
}

/// Connections to the listener's own port would come back for ever.
fn black_hole(snapshot: &Snapshot, view: &ProxyView, port: u16) -> FilterChain {
    FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: wire::u32(port.into()),
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
        let name = match (served.target, way.http) {
            (None, true) => "virtualInbound-catchall-http".to_owned(),
            _ => served.name.clone(),
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
    let prefix = match served.target {
        Some(target) => format!("inbound_{}_{}", super::wildcard(view), target.workload_port),
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
        common_tls_context: Some(tls::mesh_context(alpn, tls::named(names))),
        require_client_certificate: wire::bool(true),
        ..Default::default()
    })
}
