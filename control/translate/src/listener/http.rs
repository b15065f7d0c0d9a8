//! The HTTP connection manager and its filters, in Istio's order.

use meltemi_config::mesh_config::NormalizationType;
use meltemi_config::mesh_config::proxy_config::Topology;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::any;
use meltemi_proto::envoy::config::core::v3::Http1ProtocolOptions;
use meltemi_proto::envoy::config::listener::v3::Filter;
use meltemi_proto::envoy::config::route::v3::RouteConfiguration;
use meltemi_proto::envoy::extensions::filters::http::cors::v3::Cors;
use meltemi_proto::envoy::extensions::filters::http::fault::v3::HttpFault;
use meltemi_proto::envoy::extensions::filters::http::grpc_stats::v3::{
    FilterConfig as GrpcStats, filter_config,
};
use meltemi_proto::envoy::extensions::filters::http::router::v3::Router;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3;
use meltemi_proto::google::protobuf as wkt;
use meltemi_proto::istio::{alpn, peer_metadata, stats};
use v3::http_connection_manager::{
    ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier, SetCurrentClientCertDetails,
    UpgradeConfig,
};

use super::access_log;
use crate::capabilities::Capabilities;
use crate::wire;

/// Which way the requests go, which decides most settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the workload to the mesh.
    Outbound,
    /// From the mesh to the workload.
    Inbound,
    /// From outside through a gateway.
    Gateway,
}

/// Where routes come from.
pub enum Routes {
    /// Over RDS, by name.
    Named(String),
    /// Written into the listener.
    Inline(Box<RouteConfiguration>),
}

/// A connection manager as a network filter.
pub fn manager(
    snapshot: &Snapshot,
    view: &ProxyView,
    side: Side,
    stat_prefix: &str,
    routes: Routes,
) -> Filter {
    let mut config = v3::HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(specifier(routes)),
        http_filters: filters(view, side),
        access_log: access_log::logs(snapshot, view, side == Side::Inbound),
        use_remote_address: wire::bool(side == Side::Gateway),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        // Long polls and streams are the application's own business.
        stream_idle_timeout: Some(wkt::Duration::default()),
        http_protocol_options: old_clients(snapshot, view),
        ..Default::default()
    };
    normalize_paths(&mut config, snapshot.settings.mesh.path_normalization.normalization);
    let topology = if side == Side::Gateway { topology(snapshot, view) } else { None };
    client_certificates(&mut config, side, topology.as_ref());
    if side != Side::Outbound {
        config.server_name = "istio-envoy".to_owned();
    }
    config.xff_num_trusted_hops = topology.map_or(0, |t| t.num_trusted_proxies);
    super::filter("envoy.filters.network.http_connection_manager", any::pack(&config))
}

/// HTTP/1.0 is for proxies that ask for it, and for all when the control plane was told so.
fn old_clients(snapshot: &Snapshot, view: &ProxyView) -> Option<Http1ProtocolOptions> {
    let asked = snapshot.settings.http10 || view.identity.metadata.accepts_http10();
    asked.then(|| Http1ProtocolOptions { accept_http_10: true, ..Default::default() })
}

fn specifier(routes: Routes) -> RouteSpecifier {
    match routes {
        Routes::Named(name) => {
            RouteSpecifier::Rds(v3::Rds { config_source: Some(wire::ads()), route_config_name: name })
        }
        Routes::Inline(config) => RouteSpecifier::RouteConfig(*config),
    }
}

fn normalize_paths(config: &mut v3::HttpConnectionManager, kind: NormalizationType) {
    config.path_with_escaped_slashes_action = PathWithEscapedSlashesAction::KeepUnchanged as i32;
    config.normalize_path = wire::bool(kind != NormalizationType::None);
    config.merge_slashes =
        matches!(kind, NormalizationType::MergeSlashes | NormalizationType::DecodeAndMergeSlashes);
    if kind == NormalizationType::DecodeAndMergeSlashes {
        config.path_with_escaped_slashes_action = PathWithEscapedSlashesAction::UnescapeAndForward as i32;
    }
}

/// What stands in front of a gateway: as its own configuration says, else the mesh's.
fn topology(snapshot: &Snapshot, view: &ProxyView) -> Option<Topology> {
    let own = view.identity.metadata.proxy_config.as_ref().and_then(|config| config.get("gatewayTopology"));
    let own = own.and_then(|topology| serde_json::from_value(topology.clone()).ok());
    own.or_else(|| snapshot.settings.mesh.default_config.gateway_topology.clone())
}

/// What the upstream learns of the client's certificate.
fn client_certificates(config: &mut v3::HttpConnectionManager, side: Side, topology: Option<&Topology>) {
    use meltemi_config::mesh_config::proxy_config::ForwardClientCertDetails as Asked;
    let (mode, cert) = match side {
        Side::Outbound => return,
        Side::Inbound => (ForwardClientCertDetails::AppendForward, false),
        Side::Gateway => (ForwardClientCertDetails::SanitizeSet, true),
    };
    let mode = match topology.map(|t| t.forward_client_cert_details).unwrap_or_default() {
        Asked::Undefined => mode,
        Asked::Sanitize => ForwardClientCertDetails::Sanitize,
        Asked::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        Asked::AppendForward => ForwardClientCertDetails::AppendForward,
        Asked::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        Asked::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    };
    config.forward_client_cert_details = mode as i32;
    config.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
        subject: wire::bool(true),
        cert,
        dns: true,
        uri: true,
        ..Default::default()
    });
}

fn filters(view: &ProxyView, side: Side) -> Vec<v3::HttpFilter> {
    let capabilities = Capabilities::of(view);
    let mut filters = Vec::new();
    if capabilities.http_metadata {
        filters.push(http_filter("istio.metadata_exchange", any::pack(&peer_exchange(side))));
    }
    if capabilities.grpc_stats {
        let config = GrpcStats {
            emit_filter_state: true,
            per_method_stat_specifier: Some(filter_config::PerMethodStatSpecifier::StatsForAllMethods(
                wkt::BoolValue { value: false },
            )),
            ..Default::default()
        };
        filters.push(http_filter("envoy.filters.http.grpc_stats", any::pack(&config)));
    }
    if capabilities.alpn && side != Side::Inbound {
        filters.push(http_filter("istio.alpn", any::pack(&alpn_overrides())));
    }
    filters.push(http_filter("envoy.filters.http.fault", any::pack(&HttpFault::default())));
    filters.push(http_filter("envoy.filters.http.cors", any::pack(&Cors::default())));
    if capabilities.stats {
        filters.push(http_filter("istio.stats", any::pack(&stats_config(side))));
    }
    filters.push(http_filter("envoy.filters.http.router", any::pack(&Router::default())));
    filters
}

/// Configuration of Istio's metrics.
pub fn stats_config(side: Side) -> stats::PluginConfig {
    stats::PluginConfig {
        // A sidecar's inbound side knows its own name; the host header comes from the client.
        disable_host_header_fallback: side == Side::Inbound,
        ..Default::default()
    }
}

fn http_filter(name: &str, config: wkt::Any) -> v3::HttpFilter {
    v3::HttpFilter {
        name: name.to_owned(),
        config_type: Some(v3::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// Who is at the other end: told in headers, or looked up by address.
fn peer_exchange(side: Side) -> peer_metadata::Config {
    use peer_metadata::config::discovery_method::MethodSpecifier as Discovery;
    use peer_metadata::config::propagation_method::MethodSpecifier as Propagation;
    use peer_metadata::config::{DiscoveryMethod, IstioHeaders, PropagationMethod, WorkloadDiscovery};
    let headers = || IstioHeaders { skip_external_clusters: side != Side::Inbound };
    let discovery = vec![
        DiscoveryMethod { method_specifier: Some(Discovery::IstioHeaders(IstioHeaders::default())) },
        DiscoveryMethod {
            method_specifier: Some(Discovery::WorkloadDiscovery(WorkloadDiscovery::default())),
        },
    ];
    let propagation =
        vec![PropagationMethod { method_specifier: Some(Propagation::IstioHeaders(headers())) }];
    match side {
        Side::Inbound => peer_metadata::Config {
            downstream_discovery: discovery,
            downstream_propagation: propagation,
            ..Default::default()
        },
        Side::Outbound | Side::Gateway => peer_metadata::Config {
            upstream_discovery: discovery,
            upstream_propagation: propagation,
            ..Default::default()
        },
    }
}

fn alpn_overrides() -> alpn::FilterConfig {
    use alpn::filter_config::{AlpnOverride, Protocol};
    let offer = |protocol: Protocol, offered: [&str; 3]| AlpnOverride {
        upstream_protocol: protocol as i32,
        alpn_override: offered.map(str::to_owned).to_vec(),
    };
    alpn::FilterConfig {
        alpn_override: vec![
            offer(Protocol::Http10, ["istio-http/1.0", "istio", "http/1.0"]),
            offer(Protocol::Http11, ["istio-http/1.1", "istio", "http/1.1"]),
            offer(Protocol::Http2, ["istio-h2", "istio", "h2"]),
        ],
    }
}
