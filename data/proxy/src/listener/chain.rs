//! Filter chains and how one is chosen: condition after condition in Envoy's documented order, the most specific value of each
//! first, without going back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use meltemi_proto::envoy::config::listener::v3::FilterChainMatch as Proto;
use meltemi_proto::envoy::config::listener::v3::filter_chain_match::ConnectionSourceType;

use crate::base::drain::Drain;
use crate::base::reject::{Compiled, Reject, each};
use crate::matcher::cidr::{self, canonical};
use crate::tcp::Network;
use crate::tls::server::ServerContext;

/// A compiled filter chain.
pub struct FilterChain {
    /// Its name.
    pub name: Option<Arc<str>>,
    /// TLS, if it is terminated here.
    pub tls: Option<Arc<ServerContext>>,
    /// For the TLS handshake.
    pub tls_timeout: Duration,
    /// What serves its connections.
    pub network: Network,
    /// Raised when it is replaced or removed.
    pub drain: Drain,
}

impl FilterChain {
    /// Whether its routes have arrived, and its secrets where they are asked for.
    pub fn is_ready(&self, with_secrets: bool) -> bool {
        self.network.is_ready() && (!with_secrets || self.tls.as_ref().is_none_or(|tls| tls.is_ready()))
    }
}

/// When a filter chain applies.
#[derive(Debug, Clone, Default)]
pub struct ChainMatch {
    destination_port: Option<u16>,
    destination: Vec<IpNet>,
    server_names: Vec<String>,
    transport: String,
    protocols: Vec<String>,
    direct_source: Vec<IpNet>,
    source_type: Option<bool>,
    source: Vec<IpNet>,
    source_ports: Vec<u16>,
}

/// What is known of a connection when its chain is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where the client meant to go.
    pub local: SocketAddr,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The SNI, in lower case.
    pub server_name: Option<&'a str>,
    /// `tls` or `raw_buffer`.
    pub transport: &'a str,
    /// What the client offers or seems to speak.
    pub protocols: &'a [String],
}

impl ChainMatch {
    /// Compiles Envoy's message.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        if !proto.address_suffix.is_empty() || proto.suffix_len.is_some() {
            return Err(Reject::new("address_suffix", "is not supported"));
        }
        let port = |field: &str, port: u32| {
            u16::try_from(port).map_err(|_| Reject::new(field, format!("{port} is not a port")))
        };
        for (index, name) in proto.server_names.iter().enumerate() {
            if name.trim_start_matches("*.").contains('*') {
                return Err(Reject::new(
                    format!("server_names[{index}]"),
                    "'*' may only stand before the first dot",
                ));
            }
        }
        Ok(Self {
            destination_port: match &proto.destination_port {
                Some(value) => Some(port("destination_port", value.value)?),
                None => None,
            },
            destination: each("prefix_ranges", &proto.prefix_ranges, cidr::compile)?,
            server_names: proto.server_names.iter().map(|n| n.to_ascii_lowercase()).collect(),
            transport: proto.transport_protocol.clone(),
            protocols: proto.application_protocols.clone(),
            direct_source: each(
                "direct_source_prefix_ranges",
                &proto.direct_source_prefix_ranges,
                cidr::compile,
            )?,
            source_type: match proto.source_type() {
                ConnectionSourceType::Any => None,
                ConnectionSourceType::SameIpOrLoopback => Some(true),
                ConnectionSourceType::External => Some(false),
            },
            source: each("source_prefix_ranges", &proto.source_prefix_ranges, cidr::compile)?,
            source_ports: each("source_ports", &proto.source_ports, |p| port("", *p))?,
        })
    }

    /// How specifically each condition fits, in the order of the conditions; `None`: it does not.
    fn fits(&self, step: Step, facts: &Facts<'_>) -> Option<usize> {
        let remote = facts.remote.ip();
        match step {
            Step::DestinationPort => optional(self.destination_port, |port| port == facts.local.port()),
            Step::Destination => longest(&self.destination, facts.local.ip()),
            Step::ServerName => self.server_name(facts.server_name),
            Step::Transport => optional(Some(&self.transport).filter(|t| !t.is_empty()), |transport| {
                transport == facts.transport
            }),
            Step::Protocols => self.protocol(facts.protocols),
            Step::DirectSource => longest(&self.direct_source, remote),
            Step::SourceType => {
                let local =
                    canonical(remote).is_loopback() || canonical(remote) == canonical(facts.local.ip());
                optional(self.source_type, |wanted| wanted == local)
            }
            Step::Source => longest(&self.source, remote),
            Step::SourcePort => match self.source_ports.as_slice() {
                [] => Some(0),
                ports => ports.contains(&facts.remote.port()).then_some(1),
            },
        }
    }

    /// An exact name is best, then the longest wildcard.
    fn server_name(&self, name: Option<&str>) -> Option<usize> {
        if self.server_names.is_empty() {
            return Some(0);
        }
        let name = name?;
        let fit = |pattern: &String| match pattern.strip_prefix('*') {
            None => (pattern == name).then_some(usize::MAX),
            Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len()),
        };
        self.server_names.iter().filter_map(fit).max()
    }

    /// The protocol the client names first is best.
    fn protocol(&self, offered: &[String]) -> Option<usize> {
        if self.protocols.is_empty() {
            return Some(0);
        }
        let first = offered.iter().position(|protocol| self.protocols.contains(protocol))?;
        Some(offered.len() - first)
    }
}

fn optional<T>(condition: Option<T>, test: impl Fn(T) -> bool) -> Option<usize> {
    match condition {
        None => Some(0),
        Some(wanted) => test(wanted).then_some(1),
    }
}

fn longest(ranges: &[IpNet], ip: std::net::IpAddr) -> Option<usize> {
    if ranges.is_empty() {
        return Some(0);
    }
    let ip = canonical(ip);
    ranges.iter().filter(|net| net.contains(&ip)).map(|net| net.prefix_len() as usize + 1).max()
}

/// The conditions, in the order in which Envoy documents them.
#[derive(Debug, Clone, Copy)]
enum Step {
    DestinationPort,
    Destination,
    ServerName,
    Transport,
    Protocols,
    DirectSource,
    SourceType,
    Source,
    SourcePort,
}

const STEPS: [Step; 9] = [
    Step::DestinationPort,
    Step::Destination,
    Step::ServerName,
    Step::Transport,
    Step::Protocols,
    Step::DirectSource,
    Step::SourceType,
    Step::Source,
    Step::SourcePort,
];

/// The filter chains of a listener.
#[derive(Default)]
pub struct Chains {
    chains: Vec<(ChainMatch, Arc<FilterChain>)>,
    default: Option<Arc<FilterChain>>,
}

impl Chains {
    /// The chains in order, and the one for connections that fit none.
    pub fn new(chains: Vec<(ChainMatch, Arc<FilterChain>)>, default: Option<Arc<FilterChain>>) -> Self {
        Self { chains, default }
    }

    /// The chain for a connection.
    pub fn choose(&self, facts: &Facts<'_>) -> Option<&Arc<FilterChain>> {
        self.position(facts)
            .and_then(|at| self.chains.get(at))
            .map(|(_, chain)| chain)
            .or(self.default.as_ref())
    }

    fn position(&self, facts: &Facts<'_>) -> Option<usize> {
        choose(self.chains.len(), |at| &self.chains[at].0, facts)
    }

    /// All chains, the default included.
    pub fn all(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().map(|(_, chain)| chain).chain(&self.default)
    }
}

/// Narrows the chains condition by condition.
fn choose<'a>(count: usize, rule: impl Fn(usize) -> &'a ChainMatch, facts: &Facts<'_>) -> Option<usize> {
    let mut left: Vec<usize> = (0..count).collect();
    for step in STEPS {
        let best = left.iter().filter_map(|at| rule(*at).fits(step, facts)).max()?;
        left.retain(|at| rule(*at).fits(step, facts) == Some(best));
    }
    left.first().copied()
}

#[cfg(test)]
mod tests;
