//! Sending a request to a cluster: rewrites, limits, time-outs, attempts, mirrors.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::admit::hop_by_hop;
use super::attempt::{Answer, Missed, Plan, fill};
use super::download::Tail;
use super::exchange::Exchange;
use super::record::State;
use crate::base::body::Body;
use crate::failure::Failure;
use crate::route::Route;
use crate::route::action::{ATTEMPT_COUNT, Chosen, Forward, Mirror};
use crate::route::headers::{self, Mutation, PseudoChanges};
use crate::route::retry::{RetryOn, RetryPolicy};
use crate::route::rewrite::HostRewrite;
use crate::telemetry::Flags;
use crate::telemetry::stats::tables::ClusterStats;
use crate::upstream::Cluster;
use crate::upstream::breaker::Permit;

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const RQ_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
const PER_TRY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Applies changes to the request's headers; variables read the headers as they were.
fn mutate(state: &mut State, lists: &[&[Mutation]]) -> PseudoChanges {
    let mut changes = PseudoChanges::default();
    if lists.iter().all(|list| list.is_empty()) {
        return changes;
    }
    let mut changed = state.head.headers.clone();
    for list in lists {
        let more = headers::apply(list, &mut changed, &state.context());
        changes = PseudoChanges { authority: more.authority.or(changes.authority), path: more.path.or(changes.path) };
    }
    state.head.headers = changed;
    changes
}

/// Counts a request of a cluster until dropped.
pub struct ClusterRequest(ClusterStats);

impl ClusterRequest {
    fn begin(cluster: &Cluster) -> Self {
        cluster.stats.upstream_rq_active().inc();
        Self(cluster.stats.clone())
    }
}

impl Drop for ClusterRequest {
    fn drop(&mut self) {
        self.0.upstream_rq_active().dec();
    }
}

/// Time-outs of one request.
struct Limits {
    response: Option<Duration>,
    idle: Option<Duration>,
    max_end: Option<Instant>,
}

impl Exchange {
    /// Forwards the request; the response's body still has to be wrapped.
    pub(super) async fn forward(
        &mut self,
        route: &Arc<Route>,
        forward: &Forward,
    ) -> Result<(Response<Body>, Option<Tail>), Failure> {
        let chosen = forward.target.choose(&self.record.state.borrow().head);
        let cluster = chosen.cluster.as_ref().and_then(|slot| slot.get());
        let cluster = cluster.ok_or_else(|| {
            self.conn.hcm.stats.no_cluster().inc();
            Failure::ClusterNotFound(forward.not_found)
        })?;
        self.record.state.borrow_mut().info.upstream.cluster = Some(cluster.tags.clone());
        let retry = self.retry_policy(forward);
        let limits = self.limits(forward, &cluster);
        self.rewrite(route, forward, &chosen, &limits);
        let Some(permit) = cluster.breakers(forward.high_priority).requests.take() else {
            cluster.stats.upstream_rq_pending_overflow().inc();
            return Err(Failure::Overflow);
        };
        let gauge = ClusterRequest::begin(&cluster);
        let plan = self.plan(forward, &cluster);
        self.mirror(forward);
        if !retry.on.is_empty() || cluster.http.max_stream_duration.is_some() {
            self.upload.keep();
        }
        let answer = self.await_answer(&plan, &retry, &limits, route).await?;
        self.accept(route, &chosen, answer, permit, (gauge, limits, plan))
    }

    fn plan(&self, forward: &Forward, cluster: &Arc<Cluster>) -> Plan {
        let state = self.record.state.borrow();
        let source = self.conn.info.remote.ip().map(|a| a.ip());
        Plan {
            cluster: cluster.clone(),
            pools: self.conn.pools.clone(),
            record: self.record.clone(),
            upload: self.upload.clone(),
            alpn: self.notes.alpn.clone(),
            high_priority: forward.high_priority,
            hash: forward.hash(&state.head, source),
            auto_host: matches!(forward.host, HostRewrite::Auto),
            downstream_http2: self.conn.http2,
            upgrade: self.upgrade.is_some(),
        }
    }

    /// The retry policy with what the request itself asks for.
    fn retry_policy(&self, forward: &Forward) -> RetryPolicy {
        let mut policy = forward.retry.clone().unwrap_or_default();
        let state = self.record.state.borrow();
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
        policy
    }

    fn limits(&self, forward: &Forward, cluster: &Cluster) -> Limits {
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

    /// Changes the head on its way upstream.
    fn rewrite(&self, route: &Route, forward: &Forward, chosen: &Chosen<'_>, limits: &Limits) {
        let mut state = self.record.state.borrow_mut();
        for name in [RETRY_ON, MAX_RETRIES, RQ_TIMEOUT, PER_TRY_TIMEOUT] {
            state.head.headers.remove(name);
        }
        let weighted = chosen.weighted.map_or(&[][..], |weighted| &weighted.mutations.request);
        let changes = mutate(&mut state, &[weighted, &route.mutations.request]);
        if let Some(path) = forward.path.apply(&state.head.path, route.matching.path()) {
            if let Ok(original) = HeaderValue::from_str(&state.head.path)
                && !self.conn.hcm.suppress_envoy_headers
            {
                state.head.headers.insert(ORIGINAL_PATH, original);
            }
            state.head.path = path;
        }
        if let Some(path) = changes.path {
            state.head.path = path;
        }
        let host = chosen.weighted.and_then(|w| w.host.clone()).or_else(|| forward.host.apply(&state.head));
        if let Some(host) = host.or(changes.authority) {
            if forward.append_forwarded_host
                && let Ok(original) = HeaderValue::from_str(&state.head.authority)
            {
                state.head.headers.append(FORWARDED_HOST, original);
            }
            state.head.authority = host;
        }
        if let (Some(timeout), false) = (limits.response, self.conn.hcm.suppress_envoy_headers) {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            state.head.headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(millis));
        }
    }

    /// Waits for an answer, for as long as the time-outs allow.
    async fn await_answer(
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
            answer = self.attempts(plan, retry, route) => answer,
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

    /// Tries until there is an answer to keep.
    async fn attempts(&self, plan: &Plan, retry: &RetryPolicy, route: &Route) -> Result<Answer, Failure> {
        let stats = &plan.cluster.stats;
        let mut attempt = Attempts { avoid: Vec::new(), made: 0, retried: 0, fresh: false, permit: None };
        loop {
            attempt.made += 1;
            self.record.state.borrow_mut().info.upstream.attempts = attempt.made;
            if route.attempt_count.0 {
                let mut state = self.record.state.borrow_mut();
                state.head.headers.insert(ATTEMPT_COUNT, HeaderValue::from(attempt.made));
            }
            let tried = match retry.per_try_timeout {
                None => plan.attempt(&attempt.avoid, attempt.fresh).await,
                Some(timeout) => match tokio::time::timeout(timeout, plan.attempt(&attempt.avoid, attempt.fresh)).await {
                    Ok(tried) => tried,
                    Err(_) => {
                        stats.upstream_rq_per_try_timeout().inc();
                        Err(Missed { failure: Failure::PerTryTimeout, host: None, stale: false })
                    }
                },
            };
            let (host, again) = match &tried {
                Ok(answer) => {
                    let (status, headers) = (answer.response.status(), answer.response.headers());
                    (Some(answer.host.id), retry.after_response(status, headers))
                }
                Err(missed) if missed.stale && !attempt.fresh && self.upload.can_replay() => {
                    attempt.fresh = true;
                    continue;
                }
                Err(missed) => {
                    let broken = missed.failure.outcome().broken;
                    (missed.host, broken.is_some_and(|broken| retry.after_break(broken)))
                }
            };
            if !again || !attempt.may_retry(self, plan, retry) {
                if attempt.retried > 0 && tried.is_ok() && !again {
                    stats.upstream_rq_retry_success().inc();
                }
                return tried.map_err(|missed| missed.failure);
            }
            drop(tried);
            attempt.fresh = false;
            attempt.avoid.extend(host.filter(|_| retry.avoid_previous_hosts));
            tokio::time::sleep(retry.wait(attempt.retried, fastrand::u64(..))).await;
        }
    }

    /// Takes a response over: statistics, headers, and what its body needs until its end.
    fn accept(
        &mut self,
        route: &Route,
        chosen: &Chosen<'_>,
        answer: Answer,
        permit: Permit,
        (gauge, limits, plan): (ClusterRequest, Limits, Plan),
    ) -> Result<(Response<Body>, Option<Tail>), Failure> {
        let Answer { mut response, lease, active, host } = answer;
        self.note_response(&response, &plan.cluster, &host);
        self.idle = limits.idle;
        let granted = self.upgrade.as_ref().is_some_and(|wanted| wanted.is_granted(response.status()));
        let switching = granted && !self.conn.http2 && response.status() == StatusCode::SWITCHING_PROTOCOLS;
        hop_by_hop(response.headers_mut(), switching);
        let mut response = match self.upgrade.take() {
            Some(wanted) if granted => {
                self.joined = true;
                let response = wanted.join(response, lease, self.record.clone(), (active, permit, gauge));
                (response, None)
            }
            _ => {
                let tail = Tail {
                    lease: Some(lease),
                    active: Some(active),
                    permit: Some(permit),
                    upload: self.upload.clone(),
                    timeout: limits.response,
                    max_end: limits.max_end,
                    gauge,
                };
                (response.map(Body::Incoming), Some(tail))
            }
        };
        self.finish_headers(route, chosen, &mut response.0);
        Ok(response)
    }

    fn note_response(&self, response: &Response<hyper::body::Incoming>, cluster: &Cluster, host: &crate::upstream::Host) {
        let mut state = self.record.state.borrow_mut();
        let now = Instant::now();
        state.info.timings.upstream_response_start = Some(now);
        state.info.details = Some("via_upstream".into());
        let stats = &cluster.stats;
        stats.upstream_rq_completed().inc();
        stats.upstream_rq_time().record_duration(now.saturating_duration_since(state.info.start));
        let failed = response.status().is_server_error();
        let counter = if failed { &host.state.errors } else { &host.state.successes };
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match response.status().as_u16() {
            100..200 => stats.upstream_rq_1xx().inc(),
            200..300 => stats.upstream_rq_2xx().inc(),
            300..400 => stats.upstream_rq_3xx().inc(),
            400..500 => stats.upstream_rq_4xx().inc(),
            _ => stats.upstream_rq_5xx().inc(),
        }
    }

    fn finish_headers(&self, route: &Route, chosen: &Chosen<'_>, response: &mut Response<Body>) {
        let state = self.record.state.borrow();
        if !self.conn.hcm.suppress_envoy_headers {
            let timings = &state.info.timings;
            let begin = timings.request_end.unwrap_or(state.info.start);
            let millis = timings.upstream_response_start.map_or(0, |at| at.saturating_duration_since(begin).as_millis());
            response.headers_mut().insert(SERVICE_TIME, HeaderValue::from(millis as u64));
        }
        if route.attempt_count.1 {
            response.headers_mut().insert(ATTEMPT_COUNT, HeaderValue::from(state.info.upstream.attempts));
        }
        let context = state.context();
        if let Some(weighted) = chosen.weighted {
            headers::apply(&weighted.mutations.response, response.headers_mut(), &context);
        }
        headers::apply(&route.mutations.response, response.headers_mut(), &context);
    }

    /// Sends copies elsewhere; nobody waits for what they answer.
    fn mirror(&self, forward: &Forward) {
        for mirror in forward.mirrors.iter().filter(|m| m.fraction.draw()) {
            let Some(cluster) = mirror.cluster.get() else { continue };
            self.upload.keep();
            self.send_copy(mirror, cluster, forward.timeout);
        }
    }

    fn send_copy(&self, mirror: &Mirror, cluster: Arc<Cluster>, timeout: Option<Duration>) {
        let head = self.record.state.borrow().head.clone();
        let authority = match (mirror.suffix, head.authority.rsplit_once(':')) {
            (false, _) => head.authority.clone(),
            (true, Some((host, port))) => format!("{host}-shadow:{port}"),
            (true, None) => format!("{}-shadow", head.authority),
        };
        let body = self.upload.follower();
        let pools = self.conn.pools.clone();
        let http2 = self.conn.http2;
        tokio::task::spawn_local(async move {
            let send = copy(cluster, pools, head, authority, body, http2);
            // A copy without an answer must not live for ever.
            let _ = tokio::time::timeout(timeout.unwrap_or(Duration::from_secs(60)), send).await;
        });
    }
}

async fn copy(
    cluster: Arc<Cluster>,
    pools: Rc<crate::upstream::pool::Pools>,
    head: crate::base::head::RequestHead,
    authority: String,
    body: Body,
    downstream_http2: bool,
) -> Option<()> {
    let pick = crate::upstream::balance::Pick { random: fastrand::u64(..), ..Default::default() };
    let host = cluster.pick(pick)?;
    let wire = crate::upstream::pool::Wire::choose(cluster.http.protocol, downstream_http2);
    let pool = pools.get(&cluster, &host, wire, &Default::default());
    let mut lease = pool.acquire(false).await.ok()?;
    let mut request = Request::new(body);
    *request.headers_mut() = head.headers.clone();
    fill(&mut request, &head, &authority, lease.is_http2())?;
    cluster.stats.upstream_rq_total().inc();
    let mut response = lease.send(request).await.ok()?;
    while let Some(frame) = response.body_mut().frame().await {
        frame.ok()?;
    }
    lease.finish();
    Some(())
}

/// How far the attempts of a request are.
struct Attempts {
    avoid: Vec<u64>,
    made: u32,
    retried: u32,
    fresh: bool,
    permit: Option<Permit>,
}

impl Attempts {
    /// Whether another attempt is within the limits; takes its share if so.
    fn may_retry(&mut self, exchange: &Exchange, plan: &Plan, retry: &RetryPolicy) -> bool {
        let stats = &plan.cluster.stats;
        if self.retried >= retry.retries {
            if retry.retries > 0 {
                stats.upstream_rq_retry_limit_exceeded().inc();
                let mut state = exchange.record.state.borrow_mut();
                state.info.flags.set(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
            }
            return false;
        }
        if !exchange.upload.can_replay() {
            return false;
        }
        if self.permit.is_none() {
            self.permit = plan.cluster.breakers(plan.high_priority).retries.take();
            if self.permit.is_none() {
                stats.upstream_rq_retry_overflow().inc();
                return false;
            }
        }
        self.retried += 1;
        stats.upstream_rq_retry().inc();
        stats.upstream_rq_retry_backoff_exponential().inc();
        true
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
