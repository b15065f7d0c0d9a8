//! Retries: Istio's default policy, and what a VirtualService makes of it.

use meltemi_config::istio::virtual_service::HttpRetry;
use meltemi_mesh::Snapshot;
use meltemi_proto::any;
use meltemi_proto::envoy::config::route::v3::RetryPolicy;
use meltemi_proto::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
};
use meltemi_proto::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use meltemi_proto::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;

use crate::wire;

/// Failures before the request can have been worked on, and answers that ask for a retry.
const DEFAULT_CONDITIONS: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_ATTEMPTS: u32 = 2;
/// How often another endpoint is looked for when the one picked was already tried.
const OTHER_HOST_ATTEMPTS: i64 = 5;

/// The policy of a route. `None` switches retries off.
pub fn policy(snapshot: &Snapshot, own: Option<&HttpRetry>) -> Option<RetryPolicy> {
    let settings = own.or(snapshot.settings.mesh.default_http_retry_policy.as_ref());
    let Some(settings) = settings else { return Some(default()) };
    if settings.attempts <= 0 {
        return None;
    }
    let mut policy = RetryPolicy {
        num_retries: wire::u32(u32::try_from(settings.attempts).unwrap_or(DEFAULT_ATTEMPTS)),
        per_try_timeout: settings.per_try_timeout.map(|d| wire::duration(d.to_std())),
        ..default()
    };
    if !settings.retry_on.is_empty() {
        (policy.retry_on, policy.retriable_status_codes) = conditions(&settings.retry_on);
    }
    if settings.retry_ignore_previous_hosts == Some(false) {
        policy.retry_host_predicate.clear();
        policy.host_selection_retry_max_attempts = 0;
    }
    if settings.retry_remote_localities == Some(true) {
        let config = PreviousPrioritiesConfig { update_frequency: 2 };
        policy.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(any::pack(&config))),
        });
    }
    policy.retry_back_off = settings
        .backoff
        .map(|base| RetryBackOff { base_interval: Some(wire::duration(base.to_std())), max_interval: None });
    Some(policy)
}

fn default() -> RetryPolicy {
    RetryPolicy {
        retry_on: DEFAULT_CONDITIONS.to_owned(),
        num_retries: wire::u32(DEFAULT_ATTEMPTS),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any::pack(
                &PreviousHostsPredicate::default(),
            ))),
        }],
        host_selection_retry_max_attempts: OTHER_HOST_ATTEMPTS,
        ..Default::default()
    }
}

/// Splits `retryOn` into conditions and status codes.
fn conditions(written: &str) -> (String, Vec<u32>) {
    let mut conditions: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for part in written.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<u32>() {
            Ok(code) if (100..600).contains(&code) => codes.push(code),
            _ => conditions.push(part),
        }
    }
    if !codes.is_empty() && !conditions.contains(&"retriable-status-codes") {
        conditions.push("retriable-status-codes");
    }
    (conditions.join(","), codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_retry_on_are_status_codes() {
        assert_eq!(
            conditions("gateway-error, 503,429"),
            ("gateway-error,retriable-status-codes".into(), vec![503, 429])
        );
        assert_eq!(conditions("5xx"), ("5xx".into(), vec![]));
    }
}
