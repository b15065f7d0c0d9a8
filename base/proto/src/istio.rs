//! Messages that Istio adds to Envoy's: the certificate call and the configuration of its own filters.

/// The certificate authority's gRPC service.
pub mod auth {
    /// `istio.v1.auth`: a workload sends a CSR and gets a certificate chain.
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/istio.v1.auth.rs"));
    }
}

/// `istio.networking.nds.v1.NameTable`: the table of names for DNS capture.
#[allow(missing_docs, clippy::all)]
pub mod nds {
    include!(concat!(env!("OUT_DIR"), "/istio.networking.nds.v1.rs"));
}

/// `stats.PluginConfig`: configuration of the filter `istio.stats`.
#[allow(missing_docs, clippy::all)]
pub mod stats {
    include!(concat!(env!("OUT_DIR"), "/stats.rs"));
}

/// `io.istio.http.peer_metadata.Config`: configuration of the HTTP filter `istio.peer_metadata`.
#[allow(missing_docs, clippy::all)]
pub mod peer_metadata {
    include!(concat!(env!("OUT_DIR"), "/io.istio.http.peer_metadata.rs"));
}

/// `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`: configuration of the HTTP filter `istio.alpn`.
#[allow(missing_docs, clippy::all)]
pub mod alpn {
    include!(concat!(env!("OUT_DIR"), "/istio.envoy.config.filter.http.alpn.v2alpha1.rs"));
}

/// `envoy.tcp.metadataexchange.config.MetadataExchange`: configuration of the network filter `istio.metadata_exchange`.
#[allow(missing_docs, clippy::all)]
pub mod metadata_exchange {
    include!(concat!(env!("OUT_DIR"), "/envoy.tcp.metadataexchange.config.rs"));
}
