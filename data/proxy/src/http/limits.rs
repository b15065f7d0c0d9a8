//! How long a request may take and how often it is tried: the route's word, then the request's own.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::header::HeaderName;
use tokio::time::Instant;

use super::attempt::{Answer, Plan};
use super::exchange::Exchange;
use crate::base::head::holds_envoy;
use crate::base::patience::Patience;
use crate::failure::Failure;
use crate::route::Route;
use crate::route::action::Forward;
use crate::route::retry::{RetryOn, RetryPolicy};
use crate::upstream::Cluster;

const RQ_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
const PER_TRY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
/// What a request may ask for itself, if it is allowed to.
pub(super) static ASKS: [HeaderName; 4] = [RETRY_ON, MAX_RETRIES, RQ_TIMEOUT, PER_TRY_TIMEOUT];
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
        if !holds_envoy(&state.head.headers, &ASKS) && self.upgrade.is_none() {
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
        let begin = Instant::now();
        let mut patience = Patience::default();
        let mut answer = pin!(self.attempts(plan, retry, limits, route));
        // The end of the request sets the time of the response going.
        let mut uploaded = pin!(self.upload.complete());
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            if self.upload.ended().is_none() {
                let _ = uploaded.as_mut().poll(cx);
            }
            let Some((at, late)) = self.deadline(limits, begin) else { return Poll::Pending };
            patience.poll(at, cx).map(|()| Err(late))
        });
        outcome.await.unwrap_or_else(|late| Err(self.too_late(late, plan)))
    }

    /// The next moment at which an unanswered request is given up.
    fn deadline(&self, limits: &Limits, begin: Instant) -> Option<(Instant, Late)> {
        let ended = self.upload.ended();
        let response = limits.response.and_then(|timeout| Some((ended? + timeout, Late::Response)));
        let longest = limits.max_end.map(|at| (at, Late::Longest));
        let idle = limits.idle.map(|timeout| (self.record.idle_at(timeout), Late::Idle));
        let request = self.conn.hcm.timeouts.request.filter(|_| ended.is_none());
        let request = request.map(|timeout| (begin + timeout, Late::Request));
        [response, longest, idle, request].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn too_late(&self, late: Late, plan: &Plan) -> Failure {
        let (cluster, hcm) = (&plan.cluster.stats, &self.conn.hcm.stats);
        match late {
            Late::Response => {
                cluster.upstream_rq_timeout().inc();
                Failure::ResponseTimeout
            }
            Late::Longest => {
                cluster.upstream_rq_max_duration_reached().inc();
                Failure::MaxStreamDuration
            }
            Late::Idle => {
                hcm.downstream_rq_idle_timeout().inc();
                Failure::StreamIdle { request_complete: self.upload.ended().is_some() }
            }
            Late::Request => {
                hcm.downstream_rq_timeout().inc();
                Failure::RequestTimeout
            }
        }
    }
}

/// Which time-out passed; of those that pass at once the first counts.
#[derive(Clone, Copy)]
enum Late {
    Response,
    Longest,
    Idle,
    Request,
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
