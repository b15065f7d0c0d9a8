//! What surrounds the engine in a pod: bootstrap, token, CSR to SDS, DNS, probes, metrics merge, traffic capture.
//!
//! [`run`] is the program `pilot-agent`. The proxy itself stands behind [`data_plane`]: our engine in this process
//! or Envoy beside it. Both get the same [`bootstrap`], their secrets from [`identity`] by SDS and their
//! configuration through [`relay`] by ADS, over Unix sockets; [`status`] answers the kubelet and Prometheus.

mod admin;
pub mod bootstrap;
pub mod capture;
pub mod cli;
pub mod data_plane;
pub mod dns;
pub mod engine;
mod entry;
pub mod environment;
pub mod envoy;
#[cfg(test)]
mod golden;
pub mod http_client;
pub mod identity;
pub mod istiod;
pub mod last_good;
pub mod net;
pub mod proxyless;
pub mod relay;
mod run;
pub mod settings;
pub mod status;

pub use entry::run;
pub use run::proxy;
