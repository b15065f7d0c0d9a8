//! Listeners: accepting connections, looking at their first bytes, choosing a filter chain.

pub mod accept;
pub mod chain;
pub mod compile;
pub mod inspect;
pub mod table;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::envoy::config::core::v3::TrafficDirection;

use self::chain::{Chains, FilterChain};
use crate::base::address::Address;
use crate::net::socket::BindOptions;
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::stats::tables::ListenerStats;

/// A compiled listener.
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens, the main address first.
    pub addresses: Vec<Address>,
    /// Whether it has sockets; otherwise connections are handed to it.
    pub bind: bool,
    /// Options of its sockets.
    pub options: BindOptions,
    /// Inbound or outbound.
    pub direction: TrafficDirection,
    /// Connections are handed to the listener of their original destination.
    pub hand_off: bool,
    /// The original destination is looked up.
    pub original_dst: bool,
    /// Upstream connections are opened in the client's name, with this mark (0: none).
    pub original_src: Option<u32>,
    /// What is looked for in the first bytes.
    pub inspect: inspect::Wanted,
    /// How long that may take; `None`: any time.
    pub inspect_timeout: Option<Duration>,
    /// After that time the connection goes on with what is known, instead of being closed.
    pub continue_on_timeout: bool,
    /// Filter chains.
    pub chains: Chains,
    /// Logs of connections that no filter chain took.
    pub access_logs: AccessLogs,
    /// Statistics.
    pub stats: ListenerStats,
}

impl Listener {
    /// Whether its routes have arrived, and its secrets where they are asked for.
    pub fn is_ready(&self, with_secrets: bool) -> bool {
        self.chains.all().all(|chain| chain.is_ready(with_secrets))
    }

    /// All filter chains.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.all()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
