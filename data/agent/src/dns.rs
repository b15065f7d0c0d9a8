//! Captured look-ups: names of the mesh are answered from the control plane's table, all others by the pod's resolvers.

mod feed;
mod server;
mod table;
mod upstream;

pub use feed::Names;
pub use server::{DnsMetrics, Server};
pub use table::{Found, Table};
pub use upstream::Upstream;
