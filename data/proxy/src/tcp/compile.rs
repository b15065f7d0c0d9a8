//! Network filters: the known ones, by the type of their configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use meltemi_proto::any::message_name;
use meltemi_proto::envoy::config::core::v3::TrafficDirection;
use meltemi_proto::envoy::config::listener::v3::Filter;
use meltemi_proto::envoy::config::listener::v3::filter::ConfigType;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use meltemi_proto::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy as Proto;
use meltemi_proto::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;
use meltemi_proto::envoy::r#type::v3::HashPolicy;
use meltemi_proto::envoy::r#type::v3::hash_policy::PolicySpecifier;
use meltemi_proto::google::protobuf::Any;

use super::proxy::{Target, TcpProxy};
use super::{Network, Terminal};
use crate::base::duration::timeout;
use crate::base::reject::{At, Compiled, Reject, each, required, unpack, unsupported};
use crate::filters::{Deps, stats};
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::stats::tables::TcpStats;
use crate::upstream::balance::schedule::Schedule;

const IDLE: Duration = Duration::from_secs(3600);

/// The listener a chain of filters belongs to, as far as they care.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// `traffic_direction`.
    pub direction: TrafficDirection,
    /// `per_connection_buffer_limit_bytes`.
    pub buffer: Option<u32>,
}

#[derive(Default)]
struct Building {
    sni_cluster: bool,
    stats: Vec<Arc<stats::Stats>>,
    terminal: Option<Terminal>,
}

type Add = fn(&mut Building, &Any, &Deps, Place) -> Compiled<()>;

/// The known network filters by the type of their configuration.
const KNOWN: &[(&str, Add)] = &[
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", http),
    ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", tcp),
    ("envoy.extensions.filters.network.sni_cluster.v3.SniCluster", |building, _, _, _| {
        building.sni_cluster = true;
        Ok(())
    }),
    ("stats.PluginConfig", |building, any, deps, place| {
        building.stats.push(Arc::new(stats::compile(any, deps, place.direction)?));
        Ok(())
    }),
    // Metadata is exchanged on TCP only when both sides negotiate `istio-peer-exchange`; we never offer it.
    ("envoy.tcp.metadataexchange.config.MetadataExchange", |_, _, _, _| Ok(())),
];

/// Types of the known network filters, for `Node.extensions`.
pub fn known_types() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// Compiles a chain of network filters.
pub fn compile(filters: &[Filter], deps: &Deps, place: Place) -> Compiled<Network> {
    let mut building = Building::default();
    for (index, filter) in filters.iter().enumerate() {
        let field = format!("filters[{index}]({})", filter.name);
        if building.terminal.is_some() {
            return Err(Reject::new(field, "stands after a filter that serves the connection"));
        }
        add(&mut building, filter, deps, place).at(field)?;
    }
    let terminal = building.terminal.ok_or_else(|| {
        Reject::new(
            "filters",
            "must end with a filter that serves the connection (HTTP connection manager or TCP proxy)",
        )
    })?;
    Ok(Network { sni_cluster: building.sni_cluster, stats: building.stats, terminal })
}

fn add(building: &mut Building, filter: &Filter, deps: &Deps, place: Place) -> Compiled<()> {
    let any = match required("typed_config", &filter.config_type)? {
        ConfigType::TypedConfig(any) => any,
        ConfigType::ConfigDiscovery(_) => {
            return Err(Reject::new("config_discovery", "extension config discovery is not supported"));
        }
    };
    let name = message_name(&any.type_url);
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, add)) => add(building, any, deps, place).at("typed_config"),
        None => Err(Reject::new("typed_config", format!("network filter {name} is not supported"))),
    }
}

fn http(building: &mut Building, any: &Any, deps: &Deps, place: Place) -> Compiled<()> {
    let proto = unpack::<HttpConnectionManager>("", any)?;
    let hcm = crate::http::compile::compile(&proto, deps, place.direction, place.buffer)?;
    building.terminal = Some(Terminal::Http(Arc::new(hcm)));
    Ok(())
}

fn tcp(building: &mut Building, any: &Any, deps: &Deps, _: Place) -> Compiled<()> {
    let proto = unpack::<Proto>("", any)?;
    if proto.stat_prefix.is_empty() {
        return Err(Reject::new("stat_prefix", "is empty"));
    }
    let other_hash =
        |policy: &HashPolicy| !matches!(policy.policy_specifier, Some(PolicySpecifier::SourceIp(_)));
    unsupported(&[
        (proto.tunneling_config.is_some(), "tunneling_config"),
        (proto.metadata_match.is_some(), "metadata_match"),
        (proto.hash_policy.iter().any(other_hash), "hash_policy"),
    ])?;
    building.terminal = Some(Terminal::Tcp(Arc::new(TcpProxy {
        stats: TcpStats::new(&deps.stats, &format!("tcp.{}.", proto.stat_prefix)),
        target: target(&proto, deps)?,
        clusters: deps.clusters.clone(),
        idle_timeout: timeout("idle_timeout", &proto.idle_timeout, Some(IDLE))?,
        max_duration: timeout(
            "max_downstream_connection_duration",
            &proto.max_downstream_connection_duration,
            None,
        )?,
        attempts: proto.max_connect_attempts.as_ref().map_or(1, |v| v.value).max(1),
        hash_source: !proto.hash_policy.is_empty(),
        access_logs: AccessLogs::compile(&proto.access_log, &deps.sinks)?,
    })));
    Ok(())
}

fn target(proto: &Proto, deps: &Deps) -> Compiled<Target> {
    match required("cluster_specifier", &proto.cluster_specifier)? {
        ClusterSpecifier::Cluster(name) => Ok(Target::One(deps.clusters.slot(name))),
        ClusterSpecifier::WeightedClusters(weighted) => {
            let weights: Vec<u32> = weighted.clusters.iter().map(|c| c.weight).collect();
            if weights.iter().all(|w| *w == 0) {
                return Err(Reject::new("weighted_clusters.clusters", "the weights must not all be 0"));
            }
            let clusters =
                each("weighted_clusters.clusters", &weighted.clusters, |c| Ok(deps.clusters.slot(&c.name)))?;
            Ok(Target::Weighted { clusters, turns: Schedule::build(&weights), next: AtomicUsize::new(0) })
        }
    }
}
