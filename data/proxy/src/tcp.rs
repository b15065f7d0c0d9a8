//! TCP proxying and what else a network filter chain may hold.

pub mod compile;
pub mod proxy;

use std::sync::Arc;

use crate::filters::stats::Stats;
use crate::http::Hcm;
use crate::tcp::proxy::TcpProxy;

/// A compiled chain of network filters.
pub struct Network {
    /// The SNI names the cluster (`envoy.filters.network.sni_cluster`).
    pub sni_cluster: bool,
    /// Istio's metrics for TCP sessions.
    pub stats: Vec<Arc<Stats>>,
    /// What serves the connection.
    pub terminal: Terminal,
}

/// The last network filter.
pub enum Terminal {
    /// HTTP.
    Http(Arc<Hcm>),
    /// TCP.
    Tcp(Arc<TcpProxy>),
}

impl Network {
    /// Whether everything it waits for has arrived.
    pub fn is_ready(&self) -> bool {
        match &self.terminal {
            Terminal::Http(hcm) => hcm.is_ready(),
            Terminal::Tcp(_) => true,
        }
    }
}
