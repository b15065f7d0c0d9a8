//! Traffic policies: load balancing, pools, outlier detection.

use std::collections::BTreeMap;

use crate::istio::destination_rule::{
    ConnectionPoolSettings, ConsistentHashLb, LoadBalancerSettings, LocalityLbSetting, OutlierDetection,
    TrafficPolicy, TunnelSettings,
};
use crate::path::Path;

use super::report::Report;
use super::{names, tls};

pub(super) fn check(policy: &TrafficPolicy, path: &Path, report: &mut Report) {
    if *policy == TrafficPolicy::default() {
        report.error(path, "the policy is empty", "set at least one of its fields, or remove it");
    }
    load_balancer(policy.load_balancer.as_ref(), &path.key("loadBalancer"), report);
    connection_pool(policy.connection_pool.as_ref(), &path.key("connectionPool"), report);
    outlier_detection(policy.outlier_detection.as_ref(), &path.key("outlierDetection"), report);
    tls::client(policy.tls.as_ref(), &path.key("tls"), report);
    for (position, settings) in policy.port_level_settings.iter().enumerate() {
        let path = path.key("portLevelSettings").index(position);
        match &settings.port {
            Some(port) => report.port(&path.key("port").key("number"), port.number),
            None => report.error(&path.key("port"), "the port is missing", "write `port: {number: …}`"),
        }
        let same = |other: &&crate::istio::destination_rule::PortTrafficPolicy| other.port == settings.port;
        if policy.port_level_settings[..position].iter().any(|other| same(&other)) {
            report.error(&path.key("port"), "the port stands twice", "put its settings together");
        }
        load_balancer(settings.load_balancer.as_ref(), &path.key("loadBalancer"), report);
        connection_pool(settings.connection_pool.as_ref(), &path.key("connectionPool"), report);
        outlier_detection(settings.outlier_detection.as_ref(), &path.key("outlierDetection"), report);
        tls::client(settings.tls.as_ref(), &path.key("tls"), report);
    }
    tunnel(policy.tunnel.as_ref(), &path.key("tunnel"), report);
    if let Some(budget) = &policy.retry_budget {
        let path = path.key("retryBudget");
        report.percent(&path.key("percent"), budget.percent.unwrap_or(20.0));
        report.duration(&path.key("budgetInterval"), budget.budget_interval);
    }
}

fn load_balancer(settings: Option<&LoadBalancerSettings>, path: &Path, report: &mut Report) {
    let Some(settings) = settings else { return };
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(hash, &path.key("consistentHash"), report);
    }
    if let Some(locality) = &settings.locality_lb_setting {
        self::locality(locality, &path.key("localityLbSetting"), report);
    }
    report.duration(&path.key("warmupDurationSecs"), settings.warmup_duration_secs);
    if let Some(warmup) = &settings.warmup {
        let path = path.key("warmup");
        if warmup.duration.is_none() {
            report.error(&path.key("duration"), "the duration is missing", "");
        }
        report.duration(&path.key("duration"), warmup.duration);
        report.percent(&path.key("minimumPercent"), warmup.minimum_percent.unwrap_or(10.0));
        if warmup.aggression.is_some_and(|aggression| aggression < 1.0) {
            report.error(&path.key("aggression"), "is below 1", "write 1.0 or more");
        }
    }
}

fn consistent_hash(hash: &ConsistentHashLb, path: &Path, report: &mut Report) {
    let key = hash.http_header_name.is_some()
        || hash.http_cookie.is_some()
        || hash.use_source_ip == Some(true)
        || hash.http_query_parameter_name.is_some();
    if !key {
        let cure = "add `httpHeaderName`, `httpCookie`, `useSourceIp` or `httpQueryParameterName`";
        report.error(path, "nothing says what is hashed", cure);
    }
    if let Some(cookie) = &hash.http_cookie {
        let path = path.key("httpCookie");
        report.required(&path.key("name"), &cookie.name, "the cookie's name");
        report.span(&path.key("ttl"), cookie.ttl);
    }
    if let Some(name) = &hash.http_header_name {
        report.name(&path.key("httpHeaderName"), names::header(name));
    }
    let ring = [
        (hash.minimum_ring_size, path.key("minimumRingSize")),
        (
            hash.ring_hash.as_ref().map_or(0, |ring| ring.minimum_ring_size),
            path.key("ringHash").key("minimumRingSize"),
        ),
    ];
    for (size, path) in ring {
        if size > LARGEST_RING {
            report.error(&path, format!("{size} is too large"), format!("write {LARGEST_RING} at most"));
        }
    }
    if let Some(maglev) = &hash.maglev
        && maglev.table_size != 0
        && !is_prime(maglev.table_size)
    {
        report.error(
            &path.key("maglev").key("tableSize"),
            "is not a prime number",
            "write one, such as 65537",
        );
    }
}

/// Envoy's bound.
const LARGEST_RING: u64 = 8 << 20;

/// Envoy's bound keeps this short.
fn is_prime(number: u64) -> bool {
    number > 1
        && number <= 5_000_011
        && (2..).take_while(|i| i * i <= number).all(|i| !number.is_multiple_of(i))
}

pub(crate) fn locality(setting: &LocalityLbSetting, path: &Path, report: &mut Report) {
    for (position, rule) in setting.distribute.iter().enumerate() {
        let path = path.key("distribute").index(position);
        report.required(&path.key("from"), &rule.from, "the locality");
        shares(&rule.to, &path.key("to"), report);
        if setting.distribute[..position].iter().any(|before| before.from == rule.from) {
            report.error(
                &path.key("from"),
                format!("{:?} stands twice", rule.from),
                "put its shares together",
            );
        }
    }
    for (position, rule) in setting.failover.iter().enumerate() {
        let path = path.key("failover").index(position);
        if rule.from == rule.to {
            report.error(&path, format!("{:?} fails over to itself", rule.from), "name another region");
        }
        for (name, region) in [("from", &rule.from), ("to", &rule.to)] {
            report.required(&path.key(name), region, "the region");
            if region.contains('*') || region.contains('/') {
                report.error(&path.key(name), format!("{region:?} is no region"), "write the region alone");
            }
        }
    }
}

fn shares(to: &BTreeMap<String, u32>, path: &Path, report: &mut Report) {
    let sum: u64 = to.values().map(|share| u64::from(*share)).sum();
    if sum != 100 {
        report.error(path, format!("the shares sum to {sum}"), "make them sum to 100");
    }
    for (locality, share) in to {
        if *share == 0 {
            report.error(&path.key(locality), "the share is 0", "leave the locality out");
        }
    }
}

pub(super) fn connection_pool(settings: Option<&ConnectionPoolSettings>, path: &Path, report: &mut Report) {
    let Some(settings) = settings else { return };
    if settings.tcp.is_none() && settings.http.is_none() {
        report.error(path, "no limit is set", "add `tcp` or `http`, or remove it");
    }
    if let Some(tcp) = &settings.tcp {
        let path = path.key("tcp");
        report.not_negative(&path.key("maxConnections"), tcp.max_connections);
        report.duration(&path.key("connectTimeout"), tcp.connect_timeout);
        report.duration(&path.key("maxConnectionDuration"), tcp.max_connection_duration);
        report.span(&path.key("idleTimeout"), tcp.idle_timeout);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            report.duration(&path.key("tcpKeepalive").key("time"), keepalive.time);
            report.duration(&path.key("tcpKeepalive").key("interval"), keepalive.interval);
        }
    }
    if let Some(http) = &settings.http {
        let path = path.key("http");
        for (name, value) in [
            ("http1MaxPendingRequests", http.http1_max_pending_requests),
            ("http2MaxRequests", http.http2_max_requests),
            ("maxRequestsPerConnection", http.max_requests_per_connection),
            ("maxRetries", http.max_retries),
            ("maxConcurrentStreams", http.max_concurrent_streams),
        ] {
            report.not_negative(&path.key(name), value);
        }
        report.span(&path.key("idleTimeout"), http.idle_timeout);
        let upgrade = http.h2_upgrade_policy == crate::istio::destination_rule::H2UpgradePolicy::Upgrade;
        if upgrade && http.use_client_protocol {
            let cure = "keep one of them";
            report.error(
                &path,
                "`useClientProtocol` and `h2UpgradePolicy: UPGRADE` exclude each other",
                cure,
            );
        }
    }
}

fn outlier_detection(detection: Option<&OutlierDetection>, path: &Path, report: &mut Report) {
    let Some(detection) = detection else { return };
    report.duration(&path.key("interval"), detection.interval);
    report.duration(&path.key("baseEjectionTime"), detection.base_ejection_time);
    report.percent(&path.key("maxEjectionPercent"), f64::from(detection.max_ejection_percent));
    report.percent(&path.key("minHealthPercent"), f64::from(detection.min_health_percent));
    report.not_negative(&path.key("consecutiveErrors"), detection.consecutive_errors);
    if detection.consecutive_local_origin_failures.is_some() && !detection.split_external_local_origin_errors
    {
        let message = "has no effect without `splitExternalLocalOriginErrors: true`";
        report.error(&path.key("consecutiveLocalOriginFailures"), message, "set that too");
    }
    for (position, status) in detection.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..600).contains(status) {
            let path = path.key("outlierDetectionHttpErrorCodes").index(position);
            report.error(&path, format!("{status} is no HTTP status"), "write 100 to 599");
        }
    }
}

fn tunnel(settings: Option<&TunnelSettings>, path: &Path, report: &mut Report) {
    let Some(settings) = settings else { return };
    if !matches!(settings.protocol.as_str(), "" | "CONNECT" | "POST") {
        report.error(
            &path.key("protocol"),
            format!("{:?} is no protocol of a tunnel", settings.protocol),
            "write CONNECT or POST",
        );
    }
    if settings.target_host.parse::<std::net::IpAddr>().is_err() {
        report.name(&path.key("targetHost"), names::fqdn(&settings.target_host));
    }
    report.port(&path.key("targetPort"), settings.target_port);
}
