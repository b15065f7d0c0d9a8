//! What the engine tells about its traffic: statistics, access logs and Istio's standard metrics.
//!
//! Everything that a request touches here was resolved when its configuration was compiled. Statistics are cells owned by one
//! worker and merged when somebody reads them; log lines go to a buffer of the worker that a writer thread empties.

pub mod access_log;
pub mod flags;
pub mod info;
pub mod istio;
pub mod stats;

pub use flags::Flags;
pub use info::{ClusterTags, ConnectionInfo, LogContext, RequestInfo, TlsInfo};
