//! `(&Snapshot, &ProxyView)` → Envoy's resources, named and shaped as Istio's, so that Istio's tools and users find
//! what they know.
//!
//! Every function in here is pure: it reads its arguments and nothing else, and equal arguments give equal bytes.

pub mod canonical;
pub mod capabilities;
pub mod cluster;
pub mod destination;
pub mod endpoint;
pub mod gateway;
pub mod listener;
mod name;
pub mod names;
pub mod proxyless;
pub mod resource;
pub mod route;
pub mod secret;
pub mod source;
pub mod tls;
pub mod wire;

pub use cluster::clusters;
pub use endpoint::endpoints;
pub use listener::listeners;
pub use name::name_table;
pub use resource::{Names, Resource, Resources, resources};
pub use route::routes;
pub use secret::secrets;

pub(crate) use cluster::config_path as cluster_config_path;
