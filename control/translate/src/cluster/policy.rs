//! Load balancing, limits and outlier detection of a DestinationRule.

use meltemi_config::istio::destination_rule::{
    ConnectionPoolSettings, ConsistentHashLb, LoadBalancerSettings, OutlierDetection as Outliers, SimpleLb,
};
use meltemi_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use meltemi_proto::envoy::config::cluster::v3::cluster::{
    CommonLbConfig, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
    RoundRobinLbConfig, SlowStartConfig, common_lb_config,
};
use meltemi_proto::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions,
};
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::r#type::v3::Percent;
use meltemi_proto::google::protobuf::UInt64Value;

use crate::wire;

/// Istio's default for the smallest ring.
const RING_SIZE: u64 = 1024;

/// Envoy's own defaults are low; Istio limits nothing unless told to.
pub fn no_limits() -> CircuitBreakers {
    limits(None)
}

/// Limits of connections and requests.
pub fn limits(pool: Option<&ConnectionPoolSettings>) -> CircuitBreakers {
    let or_unlimited = |value: Option<i32>| {
        let value = value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0);
        wire::u32(value.unwrap_or(u32::MAX))
    };
    let tcp = pool.and_then(|p| p.tcp.as_ref());
    let http = pool.and_then(|p| p.http.as_ref());
    let thresholds = Thresholds {
        max_connections: or_unlimited(tcp.map(|t| t.max_connections)),
        max_pending_requests: or_unlimited(http.map(|h| h.http1_max_pending_requests)),
        max_requests: or_unlimited(http.map(|h| h.http2_max_requests)),
        max_retries: or_unlimited(http.map(|h| h.max_retries)),
        track_remaining: true,
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}

/// Connection settings that are not limits.
pub fn connections(cluster: &mut Cluster, pool: Option<&ConnectionPoolSettings>) {
    let Some(tcp) = pool.and_then(|p| p.tcp.as_ref()) else { return };
    if let Some(timeout) = tcp.connect_timeout {
        cluster.connect_timeout = Some(wire::duration(timeout.to_std()));
    }
    if let Some(keepalive) = &tcp.tcp_keepalive {
        let seconds = |d: Option<meltemi_config::Duration>| {
            d.and_then(|d| u32::try_from(d.seconds()).ok()).filter(|s| *s > 0).and_then(wire::u32)
        };
        let keepalive = core::TcpKeepalive {
            keepalive_probes: Some(keepalive.probes).filter(|p| *p > 0).and_then(wire::u32),
            keepalive_time: seconds(keepalive.time),
            keepalive_interval: seconds(keepalive.interval),
        };
        cluster.upstream_connection_options =
            Some(UpstreamConnectionOptions { tcp_keepalive: Some(keepalive), ..Default::default() });
    }
}

/// How endpoints are picked. Clusters that go where the client dialled pick nothing.
pub fn load_balancer(cluster: &mut Cluster, settings: Option<&LoadBalancerSettings>) {
    if cluster.lb_policy == LbPolicy::ClusterProvided as i32 {
        return;
    }
    let slow_start = settings.and_then(slow_start);
    if let Some(hash) = settings.and_then(|s| s.consistent_hash.as_ref()) {
        return consistent_hash(cluster, hash);
    }
    let (policy, config) = match settings.map(|s| s.simple).unwrap_or_default() {
        SimpleLb::Random => (LbPolicy::Random, None),
        SimpleLb::RoundRobin => {
            let config = |s| LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(s) });
            (LbPolicy::RoundRobin, slow_start.map(config))
        }
        _ => {
            let config = |s| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(s),
                    ..Default::default()
                })
            };
            (LbPolicy::LeastRequest, slow_start.map(config))
        }
    };
    cluster.lb_policy = policy as i32;
    cluster.lb_config = config;
}

fn slow_start(settings: &LoadBalancerSettings) -> Option<SlowStartConfig> {
    let warmup = settings.warmup.as_ref();
    let window = warmup.and_then(|w| w.duration).or(settings.warmup_duration_secs)?;
    let aggression = warmup.and_then(|w| w.aggression).map(|value| core::RuntimeDouble {
        default_value: value,
        runtime_key: "upstream.slow_start.aggression".to_owned(),
    });
    Some(SlowStartConfig {
        slow_start_window: Some(wire::duration(window.to_std())),
        aggression,
        min_weight_percent: warmup.and_then(|w| w.minimum_percent).map(|value| Percent { value }),
    })
}

fn consistent_hash(cluster: &mut Cluster, hash: &ConsistentHashLb) {
    let size = |value: u64| Some(UInt64Value { value });
    if let Some(maglev) = &hash.maglev {
        cluster.lb_policy = LbPolicy::Maglev as i32;
        let table_size = (maglev.table_size > 0).then(|| size(maglev.table_size)).flatten();
        cluster.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }));
        return;
    }
    let asked = hash.ring_hash.as_ref().map_or(hash.minimum_ring_size, |r| r.minimum_ring_size);
    cluster.lb_policy = LbPolicy::RingHash as i32;
    cluster.lb_config = Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
        minimum_ring_size: size(if asked == 0 { RING_SIZE } else { asked }),
        ..Default::default()
    }));
}

/// When endpoints are taken out. Also switches panic mode off unless asked for, as Istio does.
pub fn outliers(cluster: &mut Cluster, settings: Option<&Outliers>) {
    let Some(settings) = settings else { return };
    let positive = |value: i32| u32::try_from(value).ok().filter(|v| *v > 0);
    let duration = |value: Option<meltemi_config::Duration>| value.map(|d| wire::duration(d.to_std()));
    let five_xx = settings.consecutive_5xx_errors.or(positive(settings.consecutive_errors));
    let gateway = settings.consecutive_gateway_errors;
    let enforce = |threshold: Option<u32>| threshold.and_then(|t| wire::u32(if t > 0 { 100 } else { 0 }));
    let nonzero = |threshold: Option<u32>| threshold.filter(|t| *t > 0).and_then(wire::u32);
    cluster.outlier_detection = Some(OutlierDetection {
        consecutive_5xx: nonzero(five_xx),
        enforcing_consecutive_5xx: enforce(five_xx),
        consecutive_gateway_failure: nonzero(gateway),
        enforcing_consecutive_gateway_failure: enforce(gateway),
        interval: duration(settings.interval),
        base_ejection_time: duration(settings.base_ejection_time),
        max_ejection_percent: positive(settings.max_ejection_percent).and_then(wire::u32),
        enforcing_success_rate: wire::u32(0),
        split_external_local_origin_errors: settings.split_external_local_origin_errors,
        consecutive_local_origin_failure: nonzero(settings.consecutive_local_origin_failures),
        enforcing_consecutive_local_origin_failure: enforce(settings.consecutive_local_origin_failures),
        enforcing_local_origin_success_rate: wire::u32(0),
        ..Default::default()
    });
    let threshold = Percent { value: f64::from(settings.min_health_percent.max(0)) };
    let common = cluster.common_lb_config.get_or_insert_with(CommonLbConfig::default);
    common.healthy_panic_threshold = Some(threshold);
    common.locality_config_specifier =
        Some(common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
            common_lb_config::LocalityWeightedLbConfig::default(),
        ));
}
