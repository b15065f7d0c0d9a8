//! `/clusters`: text with `::` between the parts, or JSON.

use std::fmt::Write;

use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::json::{Style, to_json_as};

use super::listeners::{address_text, failed};
use super::query::Query;
use super::{Admin, Answer};

pub(super) fn answer(admin: &Admin, query: &Query) -> Answer {
    let clusters = admin.clusters.clusters();
    if query.get("format") != Some("json") {
        return Answer::text(clusters.iter().map(cluster_text).collect::<String>());
    }
    let all = proto::Clusters { cluster_statuses: clusters };
    to_json_as(&all, Style { proto_names: true }).map_or_else(failed, |value| Answer::json(&value))
}

fn cluster_text(cluster: &proto::ClusterStatus) -> String {
    let name = &cluster.name;
    let mut out = String::new();
    let observed = if cluster.observability_name.is_empty() { name } else { &cluster.observability_name };
    let _ = writeln!(out, "{name}::observability_name::{observed}");
    for (label, priority) in
        [("default", core::RoutingPriority::Default), ("high", core::RoutingPriority::High)]
    {
        let limits = cluster.circuit_breakers.as_ref().into_iter().flat_map(|all| &all.thresholds);
        let limits = limits.into_iter().find(|limits| limits.priority() == priority);
        thresholds(&mut out, &format!("{name}::{label}_priority"), limits);
    }
    let _ = writeln!(out, "{name}::added_via_api::{}", cluster.added_via_api);
    if !cluster.eds_service_name.is_empty() {
        let _ = writeln!(out, "{name}::eds_service_name::{}", cluster.eds_service_name);
    }
    for host in &cluster.host_statuses {
        host_text(&mut out, name, host);
    }
    out
}

fn thresholds(out: &mut String, prefix: &str, limits: Option<&Thresholds>) {
    let or = |value: Option<u32>, default: u32| value.unwrap_or(default);
    let get = |pick: fn(&Thresholds) -> Option<u32>| limits.and_then(pick);
    let rows = [
        ("max_connections", or(get(|l| Some(l.max_connections.as_ref()?.value)), 1024)),
        ("max_pending_requests", or(get(|l| Some(l.max_pending_requests.as_ref()?.value)), 1024)),
        ("max_requests", or(get(|l| Some(l.max_requests.as_ref()?.value)), 1024)),
        ("max_retries", or(get(|l| Some(l.max_retries.as_ref()?.value)), 3)),
    ];
    for (name, value) in rows {
        let _ = writeln!(out, "{prefix}::{name}::{value}");
    }
}

fn host_text(out: &mut String, cluster: &str, host: &proto::HostStatus) {
    let prefix = format!("{cluster}::{}", address_text(host.address.as_ref()));
    for stat in &host.stats {
        let _ = writeln!(out, "{prefix}::{}::{}", stat.name, stat.value);
    }
    let locality = host.locality.clone().unwrap_or_default();
    let rate =
        |percent: &Option<meltemi_proto::envoy::r#type::v3::Percent>| percent.map_or(-1.0, |p| p.value);
    let rows = [
        ("hostname", host.hostname.clone()),
        ("health_flags", health_flags(host.health_status.as_ref())),
        ("weight", host.weight.to_string()),
        ("region", locality.region),
        ("zone", locality.zone),
        ("sub_zone", locality.sub_zone),
        ("canary", "false".to_owned()),
        ("priority", host.priority.to_string()),
        ("success_rate", rate(&host.success_rate).to_string()),
        ("local_origin_success_rate", rate(&host.local_origin_success_rate).to_string()),
    ];
    for (name, value) in rows {
        let _ = writeln!(out, "{prefix}::{name}::{value}");
    }
}

fn health_flags(health: Option<&proto::HostHealthStatus>) -> String {
    let Some(health) = health else { return "healthy".to_owned() };
    let eds = health.eds_health_status();
    let flags: String = [
        (health.failed_active_health_check, "/failed_active_hc"),
        (health.failed_outlier_check, "/failed_outlier_check"),
        (health.failed_active_degraded_check, "/degraded_active_hc"),
        (health.pending_dynamic_removal, "/pending_dynamic_removal"),
        (health.pending_active_hc, "/pending_active_hc"),
        (health.excluded_via_immediate_hc_fail, "/excluded_via_immediate_hc_fail"),
        (health.active_hc_timeout, "/active_hc_timeout"),
        (eds == core::HealthStatus::Unhealthy, "/failed_eds_health"),
        (eds == core::HealthStatus::Degraded, "/degraded_eds_health"),
        (eds == core::HealthStatus::Draining, "/eds_status_draining"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}
