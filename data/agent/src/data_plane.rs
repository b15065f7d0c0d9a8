//! The proxy, seen from the agent: our engine in this process, or Envoy beside it.

use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3::Extension;

use crate::istiod::Failure;

/// What the bootstrap does not say.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Worker threads; `None` for one a core.
    pub concurrency: Option<usize>,
    /// The time in which connections are closed at draining.
    pub drain_time: Duration,
    /// Mark of the proxy's own sockets, where capture tells them by mark.
    pub bypass_mark: Option<u32>,
    /// Levels, as Envoy's flags have them: `warning,misc:error`.
    pub log_level: String,
    /// Where files of the proxy may be written.
    pub config_dir: std::path::PathBuf,
}

/// Starts a proxy.
#[tonic::async_trait]
pub trait Starter: Send + Sync + 'static {
    /// What the proxy can do beyond the core, told to the control plane.
    fn extensions(&self) -> Vec<Extension>;

    /// Starts it.
    async fn start(&self, bootstrap: Bootstrap, options: StartOptions)
    -> Result<Arc<dyn DataPlane>, Failure>;
}

/// A running proxy.
#[tonic::async_trait]
pub trait DataPlane: Send + Sync + 'static {
    /// Has it its first whole configuration and does it serve? The error says what is missing.
    async fn ready(&self) -> Result<(), String>;

    /// Begins to close connections gracefully; new ones are still served.
    async fn drain(&self);

    /// Connections of clients that are open now; `None` when it cannot be known.
    async fn active_connections(&self) -> Option<u64>;

    /// Stops at once.
    async fn shutdown(&self);

    /// Waits until the proxy has ended by itself; why.
    async fn ended(&self) -> String;
}
