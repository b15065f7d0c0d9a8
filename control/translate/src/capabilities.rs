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
}

impl Capabilities {
    /// What a proxy said of itself: names as in `Node.extensions`.
    pub fn of(view: &ProxyView) -> Capabilities {
        let any = |names: &[&str]| names.iter().any(|name| view.has_extension(name));
        Capabilities {
            http_metadata: any(&["istio.peer_metadata", "envoy.filters.http.peer_metadata"]),
            tcp_metadata: any(&["istio.metadata_exchange", "envoy.filters.network.metadata_exchange"]),
            alpn: any(&["istio.alpn", "envoy.filters.http.istio_alpn"]),
            stats: any(&["istio.stats", "envoy.filters.http.istio_stats"]),
            grpc_stats: any(&["envoy.filters.http.grpc_stats"]),
        }
    }
}
