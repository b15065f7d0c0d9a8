//! `envoy.config.listener.v3.Listener` → [`Listener`].

use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::any::message_name;
use meltemi_proto::envoy::config::core::v3::{SocketAddress, TransportSocket, transport_socket};
use meltemi_proto::envoy::config::listener::v3::listener_filter::ConfigType;
use meltemi_proto::envoy::config::listener::v3::{
    FilterChain as ChainProto, Listener as Proto, ListenerFilter,
};
use meltemi_proto::envoy::extensions::filters::listener::original_src::v3::OriginalSrc;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;

use super::Listener;
use super::chain::{ChainMatch, Chains, FilterChain};
use super::inspect::Wanted;
use crate::base::address::Address;
use crate::base::drain::Drain;
use crate::base::duration::{bool_or, timeout};
use crate::base::reject::{At, Compiled, Reject, required, unpack};
use crate::filters::Deps;
use crate::net::socket::BindOptions;
use crate::tcp::compile::Place;
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::stats::tables::{ListenerStats, listener_prefix};
use crate::tls::server::ServerContext;

const INSPECT: Duration = Duration::from_secs(15);
const HANDSHAKE: Duration = Duration::from_secs(15);
const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const TLS: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

/// The listener filters we know, by the type of their configuration.
const FILTERS: [&str; 4] = [
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
];

/// Types of the known listener filters, for `Node.extensions`.
pub fn known_types() -> impl Iterator<Item = &'static str> {
    FILTERS.into_iter()
}

/// What is carried over from the listener that this one replaces: chains that did not change keep their connections.
pub struct Previous<'a> {
    /// Its proto.
    pub proto: &'a Proto,
    /// Its value.
    pub value: &'a Listener,
}

/// Compiles a listener.
pub fn compile(proto: &Proto, previous: Option<Previous<'_>>, deps: &Deps) -> Compiled<Listener> {
    reject_unsupported(proto)?;
    let addresses = addresses(proto)?;
    let first = addresses.first().map(ToString::to_string).unwrap_or_default();
    let name = if proto.name.is_empty() { first.as_str() } else { proto.name.as_str() };
    let mut found = Filters::default();
    for (index, filter) in proto.listener_filters.iter().enumerate() {
        found.add(filter).at(format_args!("listener_filters[{index}]({})", filter.name))?;
    }
    let hand_off = bool_or(&proto.use_original_dst, false);
    let place = Place {
        direction: proto.traffic_direction(),
        buffer: proto.per_connection_buffer_limit_bytes.as_ref().map(|v| v.value),
    };
    let chains = Building {
        deps,
        place,
        previous: previous.as_ref(),
        same_place: same_place(proto, previous.as_ref()),
    };
    let stat_name = if proto.stat_prefix.is_empty() { first.as_str() } else { proto.stat_prefix.as_str() };
    Ok(Listener {
        name: name.into(),
        bind: bool_or(&proto.bind_to_port, true) && legacy_bind(proto),
        options: BindOptions {
            transparent: bool_or(&proto.transparent, false),
            freebind: bool_or(&proto.freebind, false),
            mark: deps.mark,
            dual_stack: ipv4_compatible(proto),
        },
        direction: place.direction,
        hand_off,
        original_dst: hand_off || found.original_dst,
        original_src: found.original_src,
        inspect: found.inspect,
        inspect_timeout: timeout("listener_filters_timeout", &proto.listener_filters_timeout, Some(INSPECT))?,
        continue_on_timeout: proto.continue_on_listener_filters_timeout,
        chains: chains.compile(proto)?,
        access_logs: AccessLogs::compile(&proto.access_log, &deps.sinks)?,
        stats: ListenerStats::new(&deps.stats, &listener_prefix(stat_name)),
        addresses,
    })
}

fn reject_unsupported(proto: &Proto) -> Compiled<()> {
    if proto.udp_listener_config.is_some() {
        return Err(Reject::new("udp_listener_config", "UDP listeners are not supported"));
    }
    if proto.api_listener.is_some() {
        return Err(Reject::new("api_listener", "is for gRPC clients, not for a proxy"));
    }
    if proto.listener_specifier.is_some() {
        return Err(Reject::new("listener_specifier", "internal listeners are not supported"));
    }
    if proto.filter_chain_matcher.is_some() {
        return Err(Reject::new("filter_chain_matcher", "is not supported; use filter_chain_match"));
    }
    if proto.fcds_config.is_some() {
        return Err(Reject::new("fcds_config", "is not supported"));
    }
    if proto.filter_chains.is_empty() && proto.default_filter_chain.is_none() {
        return Err(Reject::new("filter_chains", "is empty"));
    }
    Ok(())
}

fn addresses(proto: &Proto) -> Compiled<Vec<Address>> {
    let mut all = vec![Address::compile(required("address", &proto.address)?).at("address")?];
    for (index, more) in proto.additional_addresses.iter().enumerate() {
        let field = format!("additional_addresses[{index}]");
        all.push(required("address", &more.address).and_then(Address::compile).at(field)?);
    }
    Ok(all)
}

#[allow(deprecated)] // Bootstraps of Istio still set it.
fn legacy_bind(proto: &Proto) -> bool {
    proto.deprecated_v1.as_ref().is_none_or(|v1| bool_or(&v1.bind_to_port, true))
}

fn ipv4_compatible(proto: &Proto) -> bool {
    use meltemi_proto::envoy::config::core::v3::address::Address as Kind;
    match proto.address.as_ref().and_then(|a| a.address.as_ref()) {
        Some(Kind::SocketAddress(SocketAddress { ipv4_compat, .. })) => *ipv4_compat,
        _ => false,
    }
}

#[derive(Default)]
struct Filters {
    original_dst: bool,
    original_src: Option<u32>,
    inspect: Wanted,
}

impl Filters {
    fn add(&mut self, filter: &ListenerFilter) -> Compiled<()> {
        let name = match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) => message_name(&any.type_url),
            Some(ConfigType::ConfigDiscovery(_)) => {
                return Err(Reject::new("config_discovery", "extension config discovery is not supported"));
            }
            None => match filter.name.as_str() {
                "envoy.filters.listener.original_dst" => FILTERS[0],
                "envoy.filters.listener.tls_inspector" => FILTERS[1],
                "envoy.filters.listener.http_inspector" => FILTERS[2],
                "envoy.filters.listener.original_src" => FILTERS[3],
                _ => return Err(Reject::new("typed_config", "is required")),
            },
        };
        // `filter_disabled` saves work where nothing is to be found; looking anyway finds the same.
        match FILTERS.iter().position(|known| *known == name) {
            Some(0) => self.original_dst = true,
            Some(1) => self.inspect.tls = true,
            Some(2) => self.inspect.http = true,
            Some(3) => self.original_src = Some(original_src(filter)?),
            _ => return Err(Reject::new("typed_config", format!("listener filter {name} is not supported"))),
        }
        Ok(())
    }
}

/// The mark of connections that are opened in the client's name.
fn original_src(filter: &ListenerFilter) -> Compiled<u32> {
    let config = match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => unpack::<OriginalSrc>("typed_config", any)?,
        _ => OriginalSrc::default(),
    };
    if config.bind_port {
        return Err(Reject::new(
            "typed_config.bind_port",
            "is not supported: the client's port is still in use",
        ));
    }
    Ok(config.mark)
}

/// Whether nothing outside of the chains changed that chains depend on.
fn same_place(proto: &Proto, previous: Option<&Previous<'_>>) -> bool {
    previous.is_some_and(|previous| {
        previous.proto.traffic_direction == proto.traffic_direction
            && previous.proto.per_connection_buffer_limit_bytes == proto.per_connection_buffer_limit_bytes
    })
}

struct Building<'a> {
    deps: &'a Deps,
    place: Place,
    previous: Option<&'a Previous<'a>>,
    same_place: bool,
}

impl Building<'_> {
    fn compile(&self, proto: &Proto) -> Compiled<Chains> {
        let mut chains: Vec<(ChainMatch, Arc<FilterChain>)> = Vec::with_capacity(proto.filter_chains.len());
        for (index, chain) in proto.filter_chains.iter().enumerate() {
            let field = format!("filter_chains[{index}]");
            let rule = chain.filter_chain_match.clone().unwrap_or_default();
            let twin = proto.filter_chains[..index]
                .iter()
                .position(|other| other.filter_chain_match.clone().unwrap_or_default() == rule);
            if let Some(twin) = twin {
                let reason = format!("is the same as that of filter_chains[{twin}]");
                return Err(Reject::new(format!("{field}.filter_chain_match"), reason));
            }
            let rule = ChainMatch::compile(&rule).at(format_args!("{field}.filter_chain_match"))?;
            chains.push((rule, self.chain(chain).at(field)?));
        }
        let default = proto.default_filter_chain.as_ref().map(|chain| self.chain(chain));
        Ok(Chains::new(chains, default.transpose().at("default_filter_chain")?))
    }

    /// A chain that did not change stays the same value, so that its connections are not drained.
    fn chain(&self, proto: &ChainProto) -> Compiled<Arc<FilterChain>> {
        if let Some(previous) = self.previous.filter(|_| self.same_place) {
            let protos = previous.proto.filter_chains.iter().chain(&previous.proto.default_filter_chain);
            let same = protos.zip(previous.value.chains.all()).find(|(old, _)| *old == proto);
            if let Some((_, chain)) = same {
                return Ok(chain.clone());
            }
        }
        Ok(Arc::new(FilterChain {
            name: (!proto.name.is_empty()).then(|| proto.name.as_str().into()),
            tls: proto
                .transport_socket
                .as_ref()
                .map(|s| self.tls(s))
                .transpose()
                .at("transport_socket")?
                .flatten(),
            tls_timeout: timeout(
                "transport_socket_connect_timeout",
                &proto.transport_socket_connect_timeout,
                None,
            )?
            .unwrap_or(HANDSHAKE),
            network: crate::tcp::compile::compile(&proto.filters, self.deps, self.place)?,
            drain: Drain::new(),
        }))
    }

    fn tls(&self, proto: &TransportSocket) -> Compiled<Option<Arc<ServerContext>>> {
        let Some(transport_socket::ConfigType::TypedConfig(any)) = &proto.config_type else {
            return Err(Reject::new("typed_config", "is required"));
        };
        match message_name(&any.type_url) {
            RAW_BUFFER => Ok(None),
            TLS => {
                let context = unpack::<DownstreamTlsContext>("typed_config", any)?;
                let context = ServerContext::compile(&context, &self.deps.secrets).at("typed_config")?;
                Ok(Some(Arc::new(context)))
            }
            other => Err(Reject::new("typed_config", format!("transport socket {other} is not supported"))),
        }
    }
}
