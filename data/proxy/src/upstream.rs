//! Clusters, hosts, load balancing, connections and their pools.

pub mod balance;
pub mod breaker;
pub mod cluster;
pub mod compile;
pub mod connect;
pub mod endpoints;
pub mod hold;
pub mod host;
pub mod pool;
pub mod resolve;
pub mod transport;

pub use cluster::Cluster;
pub use host::{Host, HostSet};
