//! Type URLs of the resources that travel over xDS.

/// `envoy.config.cluster.v3.Cluster` (CDS).
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// `envoy.config.listener.v3.Listener` (LDS).
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// `envoy.config.route.v3.RouteConfiguration` (RDS).
pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// `envoy.config.route.v3.ScopedRouteConfiguration` (SRDS).
pub const SCOPED_ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
/// `envoy.config.route.v3.VirtualHost` (VHDS).
pub const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
/// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// `envoy.config.core.v3.TypedExtensionConfig` (ECDS).
pub const EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
/// `envoy.service.runtime.v3.Runtime` (RTDS).
pub const RUNTIME: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
/// Istio's pseudo resource by which an agent asks for `ProxyConfig`.
pub const PROXY_CONFIG: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
/// Istio's pseudo resource by which an agent asks for the table of names for DNS capture.
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";
/// Envoy's health report type on the debug channel of `proxy-status`.
pub const DEBUG_SYNCZ: &str = "istio.io/debug/syncz";

/// Every type that our two planes exchange, in the order in which a server must push them so that a client
/// never holds a reference to something it was not sent yet.
pub const PUSH_ORDER: [&str; 9] =
    [CLUSTER, ENDPOINT, LISTENER, ROUTE, SCOPED_ROUTE, VIRTUAL_HOST, SECRET, EXTENSION_CONFIG, NAME_TABLE];

/// The short name users know: `CDS`, `EDS`, …; unknown types give their message name.
pub fn short(type_url: &str) -> &str {
    match type_url {
        CLUSTER => "CDS",
        ENDPOINT => "EDS",
        LISTENER => "LDS",
        ROUTE => "RDS",
        SCOPED_ROUTE => "SRDS",
        VIRTUAL_HOST => "VHDS",
        SECRET => "SDS",
        EXTENSION_CONFIG => "ECDS",
        RUNTIME => "RTDS",
        PROXY_CONFIG => "PCDS",
        NAME_TABLE => "NDS",
        other => crate::any::message_name(other),
    }
}

/// The constant of this module that equals `type_url`, when there is one.
pub fn known(type_url: &str) -> Option<&'static str> {
    PUSH_ORDER.into_iter().chain([RUNTIME, PROXY_CONFIG]).find(|known| *known == type_url)
}
