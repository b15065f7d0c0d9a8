//! The ports that users, tools and other programs of the mesh rely on.

/// Captured outbound traffic.
pub const OUTBOUND: u16 = 15001;
/// Captured inbound traffic.
pub const INBOUND: u16 = 15006;
/// Admin interface of the proxy.
pub const ADMIN: u16 = 15000;
/// The agent: readiness, merged metrics, application probes.
pub const AGENT: u16 = 15020;
/// Health check of the proxy, for the kubelet.
pub const HEALTH: u16 = 15021;
/// The proxy's own metrics.
pub const PROMETHEUS: u16 = 15090;
/// Captured DNS.
pub const DNS: u16 = 15053;
/// ADS in plain text, for the loopback only.
pub const XDS_PLAIN: u16 = 15010;
/// ADS and the certificate authority over TLS.
pub const XDS_TLS: u16 = 15012;
/// The control plane's metrics.
pub const MONITORING: u16 = 15014;
/// The control plane's webhooks.
pub const WEBHOOK: u16 = 15017;
/// The control plane's `/debug` and `/ready`.
pub const DEBUG_HTTP: u16 = 8080;
/// HBONE tunnel.
pub const HBONE: u16 = 15008;
