//! `envoy.config.cluster.v3.Cluster` → [`Cluster`].

mod http;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::http::header::HeaderName;
use arc_swap::ArcSwap;
use meltemi_proto::any::message_name;
use meltemi_proto::envoy::config::cluster::v3::Cluster as Proto;
use meltemi_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use meltemi_proto::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use meltemi_proto::envoy::config::cluster::v3::cluster::ring_hash_lb_config::HashFunction;
use meltemi_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, LbConfig, LbPolicy,
};
use meltemi_proto::envoy::config::core::v3::{BindConfig, RoutingPriority, TcpKeepalive};

use super::balance::{Balance, Policy};
use super::breaker::Breakers;
use super::cluster::{Cluster, Discovery, next_uid};
use super::endpoints::Assignment;
use super::hold::Hold;
use super::resolve::{DnsTarget, Family};
use super::transport::Transports;
use crate::base::duration::{duration, optional, u32_or};
use crate::base::reject::{At, Compiled, Reject, unsupported};
use crate::net::socket::{DialOptions, Keepalive};
use crate::telemetry::ClusterTags;
use crate::telemetry::stats::Registry;
use crate::telemetry::stats::tables::{ClusterStats, cluster_prefix};
use crate::tls::secret::Secrets;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DNS_RATE: Duration = Duration::from_secs(5);

/// What compiling a cluster needs besides its proto.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Where its statistics live.
    pub stats: Registry,
    /// Secrets by name.
    pub secrets: Arc<Secrets>,
    /// `SO_MARK` on its connections.
    pub mark: Option<u32>,
}

/// Compiles a cluster; its hosts are set when they are known without asking anybody.
pub fn compile(proto: &Proto, from_api: bool, deps: &Deps) -> Compiled<Cluster> {
    if proto.name.is_empty() {
        return Err(Reject::new("name", "is empty"));
    }
    reject_unsupported(proto)?;
    filters(proto)?;
    let discovery = discovery(proto)?;
    let names_allowed = matches!(discovery, Discovery::StrictDns(_) | Discovery::LogicalDns(_));
    let inline = match &proto.load_assignment {
        Some(assignment) => Assignment::compile(assignment, names_allowed).at("load_assignment")?,
        None => Assignment::default(),
    };
    if let Discovery::LogicalDns(_) = discovery
        && inline.endpoints.len() != 1
    {
        return Err(Reject::new("load_assignment", "a LOGICAL_DNS cluster has exactly one endpoint"));
    }
    let connect_timeout = optional("connect_timeout", &proto.connect_timeout)?.unwrap_or(CONNECT_TIMEOUT);
    if connect_timeout.is_zero() {
        return Err(Reject::new("connect_timeout", "must be above 0s"));
    }
    let name: Arc<str> = proto.name.as_str().into();
    let stat_name = if proto.alt_stat_name.is_empty() { &proto.name } else { &proto.alt_stat_name };
    let cluster = Cluster {
        uid: next_uid(),
        name,
        tags: Arc::new(ClusterTags::compile(proto)),
        from_api,
        discovery,
        inline,
        hosts: ArcSwap::default(),
        balance: balance(proto)?,
        connect_timeout,
        dial: dial(proto, deps)?,
        breakers: breakers(proto),
        hold: Hold::default(),
        transports: Transports::compile(proto, &deps.secrets)?,
        http: http::compile(proto)?,
        metadata: proto.metadata.clone(),
        stats: ClusterStats::new(&deps.stats, &cluster_prefix(stat_name)),
        codes: deps.stats.codes(&format!("{}upstream_rq_", cluster_prefix(stat_name))),
        retried_codes: deps.stats.codes(&format!("{}retry.upstream_rq_", cluster_prefix(stat_name))),
        retired: AtomicBool::new(false),
    };
    if cluster.discovery == Discovery::Static {
        cluster.set_hosts(cluster.inline.clone());
    }
    Ok(cluster)
}

/// What would choose other hosts, or fewer, or share less between clients than we do. `outlier_detection` and slow starts are
/// not among it: meshes set them everywhere, and without them traffic goes to the hosts that it may go to.
fn reject_unsupported(proto: &Proto) -> Compiled<()> {
    let thresholds = proto.circuit_breakers.as_ref();
    let budget = thresholds.is_some_and(|c| c.thresholds.iter().any(|t| t.retry_budget.is_some()));
    let per_host = thresholds.is_some_and(|c| !c.per_host_thresholds.is_empty());
    let murmur = matches!(&proto.lb_config, Some(LbConfig::RingHashLbConfig(ring))
        if ring.hash_function() != HashFunction::XxHash);
    unsupported(&[
        (!proto.health_checks.is_empty(), "health_checks"),
        (proto.lb_subset_config.is_some(), "lb_subset_config"),
        (proto.load_balancing_policy.is_some(), "load_balancing_policy"),
        (proto.transport_socket_matcher.is_some(), "transport_socket_matcher"),
        (proto.upstream_config.is_some(), "upstream_config"),
        (proto.connection_pool_per_downstream_connection, "connection_pool_per_downstream_connection"),
        (budget, "circuit_breakers.thresholds.retry_budget"),
        (per_host, "circuit_breakers.per_host_thresholds"),
        (murmur, "ring_hash_lb_config.hash_function"),
    ])
}

/// Upstream network filters: only the one that has nothing to do without `istio-peer-exchange`.
fn filters(proto: &Proto) -> Compiled<()> {
    for (index, filter) in proto.filters.iter().enumerate() {
        let name = filter.typed_config.as_ref().map_or("", |any| message_name(&any.type_url));
        if name != "envoy.tcp.metadataexchange.config.MetadataExchange" {
            let field = format!("filters[{index}]({})", filter.name);
            return Err(Reject::new(field, format!("upstream network filter {name:?} is not supported")));
        }
    }
    Ok(())
}

fn discovery(proto: &Proto) -> Compiled<Discovery> {
    let kind = match &proto.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(number)) => DiscoveryType::try_from(*number)
            .map_err(|_| Reject::new("type", format!("{number} is not a discovery type")))?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return Err(Reject::new("cluster_type", format!("{:?} is not supported", custom.name)));
        }
    };
    Ok(match kind {
        DiscoveryType::Static => Discovery::Static,
        DiscoveryType::StrictDns => Discovery::StrictDns(dns(proto)?),
        DiscoveryType::LogicalDns => Discovery::LogicalDns(dns(proto)?),
        DiscoveryType::Eds => {
            let service = proto.eds_cluster_config.as_ref().map_or("", |eds| eds.service_name.as_str());
            let service = if service.is_empty() { proto.name.as_str() } else { service };
            Discovery::Eds { service: service.into() }
        }
        DiscoveryType::OriginalDst => original_dst(proto)?,
    })
}

#[allow(deprecated)] // The fields are what control planes of today still send.
fn dns(proto: &Proto) -> Compiled<DnsTarget> {
    let family = match proto.dns_lookup_family() {
        DnsLookupFamily::Auto => Family::Auto,
        DnsLookupFamily::V4Only => Family::V4,
        DnsLookupFamily::V6Only => Family::V6,
        DnsLookupFamily::V4Preferred => Family::V4Preferred,
        DnsLookupFamily::All => Family::All,
    };
    let rate = optional("dns_refresh_rate", &proto.dns_refresh_rate)?.unwrap_or(DNS_RATE);
    if rate < Duration::from_millis(1) {
        return Err(Reject::new("dns_refresh_rate", "must be at least 1ms"));
    }
    Ok(DnsTarget { rate, family })
}

fn original_dst(proto: &Proto) -> Compiled<Discovery> {
    let Some(LbConfig::OriginalDstLbConfig(config)) = &proto.lb_config else {
        return Ok(Discovery::OriginalDst { header: None, port: None });
    };
    let header = match (config.use_http_header, config.http_header_name.as_str()) {
        (false, _) => None,
        (true, "") => Some(HeaderName::from_static("x-envoy-original-dst-host")),
        (true, name) => Some(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            Reject::new("original_dst_lb_config.http_header_name", format!("{name:?} is not a header name"))
        })?),
    };
    let port = config.upstream_port_override.as_ref().map(|p| u16::try_from(p.value)).transpose();
    let port =
        port.map_err(|_| Reject::new("original_dst_lb_config.upstream_port_override", "is not a port"))?;
    Ok(Discovery::OriginalDst { header, port })
}

fn balance(proto: &Proto) -> Compiled<Balance> {
    let common = proto.common_lb_config.as_ref();
    let panic_percent = common
        .and_then(|c| c.healthy_panic_threshold.as_ref())
        .map_or(50, |percent| percent.value.clamp(0.0, 100.0) as u32);
    let locality_weighted = matches!(
        common.and_then(|c| c.locality_config_specifier.as_ref()),
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
    );
    Ok(Balance { policy: policy(proto)?, panic_percent, locality_weighted, ..Balance::default() })
}

fn policy(proto: &Proto) -> Compiled<Policy> {
    Ok(match (proto.lb_policy(), &proto.lb_config) {
        (LbPolicy::RoundRobin | LbPolicy::ClusterProvided, _) => Policy::RoundRobin,
        (LbPolicy::Random, _) => Policy::Random,
        (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
            Policy::LeastRequest { choices: u32_or(&config.choice_count, 2).clamp(2, 64) }
        }
        (LbPolicy::LeastRequest, _) => Policy::LeastRequest { choices: 2 },
        (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => {
            let min = config.minimum_ring_size.as_ref().map_or(1024, |v| v.value);
            let max = config.maximum_ring_size.as_ref().map_or(8 << 20, |v| v.value);
            if min > max || max > 8 << 20 {
                return Err(Reject::new("ring_hash_lb_config", "needs minimum <= maximum <= 8388608"));
            }
            Policy::RingHash { min, max }
        }
        (LbPolicy::RingHash, _) => Policy::RingHash { min: 1024, max: 8 << 20 },
        (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config))) => {
            let size = config.table_size.as_ref().map_or(65_537, |v| v.value);
            if !(3..=5_000_011).contains(&size) || (2..).take_while(|d| d * d <= size).any(|d| size % d == 0)
            {
                return Err(Reject::new("maglev_lb_config.table_size", "must be a prime up to 5000011"));
            }
            Policy::Maglev { size }
        }
        (LbPolicy::Maglev, _) => Policy::Maglev { size: 65_537 },
        (LbPolicy::LoadBalancingPolicyConfig, _) => {
            return Err(Reject::new("load_balancing_policy", "is not supported; use lb_policy"));
        }
    })
}

fn breakers(proto: &Proto) -> [Breakers; 2] {
    let thresholds = proto.circuit_breakers.as_ref().map_or(&[][..], |c| c.thresholds.as_slice());
    [RoutingPriority::Default, RoutingPriority::High].map(|priority| {
        let found: Option<&Thresholds> = thresholds.iter().find(|t| t.priority() == priority);
        found.map_or_else(Breakers::default, |t| {
            Breakers::new(
                u32_or(&t.max_connections, 1024),
                u32_or(&t.max_pending_requests, 1024),
                u32_or(&t.max_requests, 1024),
                u32_or(&t.max_retries, 3),
            )
        })
    })
}

fn dial(proto: &Proto, deps: &Deps) -> Compiled<DialOptions> {
    let source = match &proto.upstream_bind_config {
        Some(BindConfig { source_address: Some(source), .. }) => {
            let ip = source.address.parse().map_err(|_| {
                Reject::new(
                    "upstream_bind_config.source_address.address",
                    format!("{:?} is not an IP address", source.address),
                )
            })?;
            Some(ip)
        }
        _ => None,
    };
    let keepalive =
        proto.upstream_connection_options.as_ref().and_then(|o| o.tcp_keepalive.as_ref()).map(keepalive);
    Ok(DialOptions { source, mark: deps.mark, keepalive, transparent: false })
}

fn keepalive(proto: &TcpKeepalive) -> Keepalive {
    let seconds = |v: &Option<meltemi_proto::google::protobuf::UInt32Value>| {
        v.as_ref().map(|v| Duration::from_secs(u64::from(v.value)))
    };
    Keepalive {
        time: seconds(&proto.keepalive_time),
        interval: seconds(&proto.keepalive_interval),
        probes: proto.keepalive_probes.as_ref().map(|v| v.value),
    }
}

/// A wrapped duration that must be positive.
fn positive(field: &str, proto: &meltemi_proto::google::protobuf::Duration) -> Compiled<Duration> {
    let value = duration(field, proto)?;
    if value.is_zero() { Err(Reject::new(field, "must be above 0s")) } else { Ok(value) }
}
