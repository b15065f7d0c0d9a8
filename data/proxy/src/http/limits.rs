//! How long a request may take and how often it is tried: the route's word, then the request's own.

use std::borrow::Cow;
use std::time::Duration;

use http::header::HeaderName;
use tokio::time::Instant;

use super::attempt::{Answer, Plan};
use super::exchange::Exchange;
use crate::failure::Failure;
use crate::route::Route;
use crate::route::action::Forward;
use crate::route::retry::{RetryOn, RetryPolicy};
use crate::upstream::Cluster;

pub(super) const RQ_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
pub(super) const PER_TRY_TIMEOUT: HeaderName =
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
pub(super) const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
pub(super) const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Time-outs of one request.
pub(super) struct Limits {
    /// From the request's end to the response's end.
    pub(super) response: Option<Duration>,
    /// Between events of the stream.
    pub(super) idle: Option<Duration>,
    /// When the stream must be over.
    pub(super) max_end: Option<Instant>,
}

impl Exchange {
    /// The retry policy with what the request itself asks for; almost always the route's own.
    pub(super) fn retry_policy<'a>(&self, forward: &'a Forward) -> Cow<'a, RetryPolicy> {
        let state = self.record.state.borrow();
        let asks =
            [RETRY_ON, MAX_RETRIES, PER_TRY_TIMEOUT].iter().any(|name| state.head.headers.contains_key(name));
        if !asks && self.upgrade.is_none() {
            return forward.retry.as_ref().map_or_else(|| Cow::Owned(RetryPolicy::default()), Cow::Borrowed);
        }
        let mut policy = forward.retry.clone().unwrap_or_default();
        if let Some(on) = state.head.text(&RETRY_ON) {
            policy.on = policy.on.and(RetryOn::compile(on));
            policy.retries = policy.retries.max(1);
        }
        if let Some(max) = state.head.text(&MAX_RETRIES).and_then(|v| v.parse().ok()) {
            policy.retries = max;
        }
        if let Some(timeout) = state.head.text(&PER_TRY_TIMEOUT).and_then(|v| v.parse().ok()) {
            policy.per_try_timeout = Some(Duration::from_millis(timeout));
        }
        if self.upgrade.is_some() {
            policy.on = RetryOn::default();
        }
        Cow::Owned(policy)
    }

    pub(super) fn limits(&self, forward: &Forward, cluster: &Cluster) -> Limits {
        let state = self.record.state.borrow();
        let head = &state.head;
        let mut response = forward.timeout;
        if let (Some(most), true) = (forward.max_grpc_timeout, state.info.grpc) {
            let asked = head.text(&GRPC_TIMEOUT).and_then(grpc_timeout);
            response = match (asked, most) {
                (Some(asked), Some(most)) => Some(asked.min(most)),
                (Some(asked), None) => Some(asked),
                (None, _) => response,
            };
        }
        if let Some(asked) = head.text(&RQ_TIMEOUT).and_then(|v| v.parse().ok()) {
            response = Some(Duration::from_millis(asked)).filter(|d| !d.is_zero());
        }
        if self.upgrade.is_some() {
            response = None;
        }
        let longest = forward.max_stream_duration.or(self.conn.hcm.timeouts.max_stream);
        let longest = longest.or(cluster.http.max_stream_duration);
        Limits {
            response,
            idle: forward.idle_timeout.unwrap_or(self.conn.hcm.timeouts.stream_idle),
            max_end: longest.map(|longest| state.info.start + longest),
        }
    }

    /// Waits for an answer, for as long as the time-outs allow.
    pub(super) async fn await_answer(
        &self,
        plan: &Plan,
        retry: &RetryPolicy,
        limits: &Limits,
        route: &Route,
    ) -> Result<Answer, Failure> {
        let response_timeout = async {
            match limits.response {
                Some(timeout) => tokio::time::sleep_until(self.upload.complete().await + timeout).await,
                None => std::future::pending().await,
            }
        };
        let idle = async {
            match limits.idle {
                Some(timeout) => self.record.idle(timeout).await,
                None => std::future::pending().await,
            }
        };
        let longest = async {
            match limits.max_end {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let request_timeout = async {
            match self.conn.hcm.timeouts.request {
                Some(timeout) if self.upload.ended().is_none() => {
                    tokio::select! {
                        _ = self.upload.complete() => std::future::pending().await,
                        () = tokio::time::sleep(timeout) => {}
                    }
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = self.attempts(plan, retry, limits, route) => answer,
            () = response_timeout => {
                plan.cluster.stats.upstream_rq_timeout().inc();
                Err(Failure::ResponseTimeout)
            }
            () = longest => {
                plan.cluster.stats.upstream_rq_max_duration_reached().inc();
                Err(Failure::MaxStreamDuration)
            }
            () = idle => {
                self.conn.hcm.stats.downstream_rq_idle_timeout().inc();
                Err(Failure::StreamIdle { request_complete: self.upload.ended().is_some() })
            }
            () = request_timeout => {
                self.conn.hcm.stats.downstream_rq_timeout().inc();
                Err(Failure::RequestTimeout)
            }
        }
    }
}

/// A gRPC time-out: up to eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_have_units() {
        assert_eq!(grpc_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(grpc_timeout("123456789S"), None);
        assert_eq!(grpc_timeout("é"), None);
        assert_eq!(grpc_timeout(""), None);
    }
}
