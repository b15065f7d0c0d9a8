//! Which filters a proxy has beyond those that every Envoy has.

use meltemi_mesh::ProxyView;

/// Istio's own filters. Configuration that names a filter the proxy lacks would be refused as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Peers tell each other who they are in HTTP headers.
    pub http_metadata: bool,
    /// Peers tell each other who they are at the start of a TLS connection.
    pub tcp_metadata: bool,
    /// The protocol offered upstream follows that of the request.
    pub alpn: bool,
    /// Istio's standard metrics.
    pub stats: bool,
    /// Counts of gRPC messages.
    pub grpc_stats: bool,
    /// For gRPC without a proxy: balancing by the fewest requests. Envoy always has it.
    pub least_request: bool,
}

impl Capabilities {
    /// What a proxy said of itself in `Node.extensions`: the name of a filter or of the message that configures it.
    pub fn of(view: &ProxyView) -> Capabilities {
        let any = |names: &[&str]| names.iter().any(|name| view.has_extension(name));
        Capabilities {
            http_metadata: any(&[
                "istio.peer_metadata",
                "envoy.filters.http.peer_metadata",
                "io.istio.http.peer_metadata.Config",
            ]),
            // By name only: a proxy may accept the configuration and yet not speak the protocol.
            tcp_metadata: any(&["envoy.filters.network.metadata_exchange"]),
            alpn: any(&["istio.alpn", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"]),
            stats: any(&["istio.stats", "stats.PluginConfig"]),
            grpc_stats: any(&[
                "envoy.filters.http.grpc_stats",
                "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
            ]),
            least_request: any(&["envoy.load_balancing_policies.least_request"]),
        }
    }
}
