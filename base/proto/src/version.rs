//! Versions we report.

/// Version of Meltemi.
pub const MELTEMI: &str = env!("CARGO_PKG_VERSION");
/// The Istio release whose interfaces (images, labels, xDS shapes) we are compatible with.
pub const ISTIO_COMPAT: &str = "1.30.0";
