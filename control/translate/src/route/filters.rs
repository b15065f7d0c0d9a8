//! What a rule asks of filters: faults and cross-origin rules.

use std::collections::HashMap;

use meltemi_config::istio::virtual_service::{
    CorsPolicy, GRPC_STATUS, HttpFaultAbort, HttpFaultDelay, HttpFaultInjection, HttpRoute, Percent,
    StringMatch, UnmatchedPreflights,
};
use meltemi_proto::any;
use meltemi_proto::envoy::config::core::v3::RuntimeFractionalPercent;
use meltemi_proto::envoy::extensions::filters::common::fault::v3::{FaultDelay, fault_delay};
use meltemi_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy as Cors;
use meltemi_proto::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault, fault_abort};
use meltemi_proto::google::protobuf::Any;

use super::matching;
use crate::wire;

/// Configuration of filters for one route, by the filter's name.
pub fn of_rule(rule: &HttpRoute) -> HashMap<String, Any> {
    let mut configs = HashMap::new();
    if let Some(policy) = &rule.cors_policy {
        configs.insert("envoy.filters.http.cors".to_owned(), any::pack(&cors(policy)));
    }
    if let Some(fault) = rule.fault.as_ref().and_then(fault) {
        configs.insert("envoy.filters.http.fault".to_owned(), any::pack(&fault));
    }
    configs
}

fn cors(policy: &CorsPolicy) -> Cors {
    let any_origin = || wire::regex(".*");
    let old = policy.allow_origin.iter().map(|origin| match origin.as_str() {
        "*" => any_origin(),
        origin => wire::exact(origin),
    });
    let new = policy.allow_origins.iter().map(|origin| match origin {
        StringMatch::Exact(origin) if origin == "*" => any_origin(),
        origin => matching::matcher(origin).unwrap_or_else(any_origin),
    });
    Cors {
        allow_origin_string_match: new.chain(old).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.seconds().to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials.and_then(wire::bool),
        filter_enabled: Some(RuntimeFractionalPercent {
            default_value: Some(wire::percent(100.0)),
            ..Default::default()
        }),
        forward_not_matching_preflights: match policy.unmatched_preflights {
            UnmatchedPreflights::Unspecified => None,
            UnmatchedPreflights::Forward => wire::bool(true),
            UnmatchedPreflights::Ignore => wire::bool(false),
        },
        ..Default::default()
    }
}

fn fault(fault: &HttpFaultInjection) -> Option<HttpFault> {
    let delay = fault.delay.as_ref().and_then(delay);
    let abort = fault.abort.as_ref().and_then(abort);
    if delay.is_none() && abort.is_none() {
        return None;
    }
    Some(HttpFault { delay, abort, ..Default::default() })
}

fn delay(delay: &HttpFaultDelay) -> Option<FaultDelay> {
    let fixed = delay.fixed_delay?;
    let old = (delay.percent > 0).then(|| Percent { value: f64::from(delay.percent) });
    Some(FaultDelay {
        // A delay without a percentage hits nothing, unlike an abort without one.
        percentage: Some(wire::percent(delay.percentage.or(old).map_or(0.0, |p| p.value))),
        fault_delay_secifier: Some(fault_delay::FaultDelaySecifier::FixedDelay(wire::duration(
            fixed.to_std(),
        ))),
    })
}

fn abort(abort: &HttpFaultAbort) -> Option<FaultAbort> {
    let http = abort.http_status.and_then(|s| u32::try_from(s).ok()).map(fault_abort::ErrorType::HttpStatus);
    let grpc = || abort.grpc_status.as_deref().and_then(grpc_code).map(fault_abort::ErrorType::GrpcStatus);
    Some(FaultAbort {
        percentage: Some(wire::percent(abort.percentage.map_or(100.0, |p| p.value))),
        error_type: Some(http.or_else(grpc)?),
        ..Default::default()
    })
}

/// gRPC's status codes, by name or as a number.
fn grpc_code(name: &str) -> Option<u32> {
    let position = GRPC_STATUS.iter().position(|known| *known == name).and_then(|p| u32::try_from(p).ok());
    position.or_else(|| name.parse().ok())
}
