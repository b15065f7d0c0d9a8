//! Listeners: where traffic arrives, and which filters it passes.

use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::core::v3::TrafficDirection;
use meltemi_proto::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, filter};
use meltemi_proto::google::protobuf as wkt;

use crate::wire;

pub mod access_log;
mod distinct;
mod gateway;
mod http;
mod inbound;
mod inspectors;
mod outbound;
mod tcp;

/// All listeners of a proxy, sorted by name.
pub fn listeners(snapshot: &Snapshot, view: &ProxyView) -> Vec<Listener> {
    let mut listeners = if view.is_router() {
        gateway::listeners(snapshot, view)
    } else {
        let mut listeners = outbound::listeners(snapshot, view);
        listeners.push(inbound::listener(snapshot, view));
        listeners
    };
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    listeners
}

/// A listener without chains.
fn base(name: String, ip: &str, port: u16, direction: TrafficDirection) -> Listener {
    Listener {
        name,
        address: Some(wire::address(ip, port)),
        traffic_direction: direction as i32,
        ..Default::default()
    }
}

/// The address on which a proxy listens for all of its own addresses.
fn wildcard(view: &ProxyView) -> &'static str {
    match view.identity.ips.first() {
        Some(std::net::IpAddr::V6(_)) => "::",
        _ => "0.0.0.0",
    }
}

/// The port of the proxy's own to which connections are redirected; injection writes the rules for the same one.
fn own_port(configured: i32, default: u16) -> u16 {
    u16::try_from(configured).ok().filter(|port| *port != 0).unwrap_or(default)
}

/// A network filter with its configuration.
pub(crate) fn filter(name: &str, config: wkt::Any) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

/// A chain that every connection takes.
fn chain(name: &str, filters: Vec<Filter>) -> FilterChain {
    FilterChain { name: name.to_owned(), filters, ..Default::default() }
}

/// What a connection must look like.
fn looks_like(transport: &str, applications: &[&str]) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: transport.to_owned(),
        application_protocols: applications.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

/// ALPN values that the HTTP inspector sets for plain HTTP.
const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];
