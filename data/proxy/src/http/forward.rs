//! Sending a request to a cluster: rewrites, limits, attempts, and taking the response over.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::admit::hop_by_hop;
use super::attempt::{Answer, ORIGINAL_HOST, Plan};
use super::download::Tail;
use super::exchange::Exchange;
use super::limits::{ASKS, Limits};
use super::record::State;
use super::upgrade::Tunnel;
use crate::base::body::Body;
use crate::base::head::{NOT_DELIVERED, holds_envoy};
use crate::failure::Failure;
use crate::route::Route;
use crate::route::action::{ATTEMPT_COUNT, Chosen, Forward};
use crate::route::headers::{self, Mutation, PseudoChanges};
use crate::route::rewrite::HostRewrite;
use crate::telemetry::istio::peer;
use crate::telemetry::stats::tables::ClusterStats;
use crate::upstream::breaker::Permit;
use crate::upstream::{Cluster, Host};

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

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
        {
            let mut state = self.record.state.borrow_mut();
            state.info.upstream.cluster = Some(cluster.tags.clone());
            if self.notes.only_inside && cluster.tags.outside {
                peer::strip(&mut state.head.headers);
            }
        }
        self.conn.hcm.stats.rq_total().inc();
        let retry = self.retry_policy(forward);
        let limits = self.limits(forward, &cluster);
        self.rewrite(route, forward, &chosen, &limits);
        let Some(permit) = cluster.breakers(forward.high_priority).requests.take() else {
            cluster.stats.upstream_rq_pending_overflow().inc();
            return Err(Failure::Overflow);
        };
        let gauge = ClusterRequest::begin(&cluster);
        let plan = self.plan(forward, &cluster);
        let mirrored = self.mirror(forward);
        if !retry.on.is_empty() {
            self.upload.keep();
        }
        let answer = self.await_answer(&plan, &retry, &limits, route).await.inspect_err(|failure| {
            cluster.count_response(failure.outcome().status);
        })?;
        if !mirrored {
            self.upload.release();
        }
        self.accept(route, &chosen, answer, permit, (gauge, limits, plan))
    }

    fn plan(&self, forward: &Forward, cluster: &Arc<Cluster>) -> Plan {
        let state = self.record.state.borrow();
        let source = state.info.remote().ip().map(|a| a.ip());
        Plan {
            cluster: cluster.clone(),
            pools: self.conn.pools.clone(),
            record: self.record.clone(),
            upload: self.upload.clone(),
            alpn: self.notes.alpn.clone(),
            high_priority: forward.high_priority,
            hash: forward.hash(&state.head, source),
            auto_host: matches!(forward.host, HostRewrite::Auto),
            suppress_envoy_headers: self.conn.hcm.suppress_envoy_headers,
            downstream_http2: self.conn.http2,
            upgrade: self.upgrade.is_some(),
            picked: Cell::default(),
        }
    }

    /// Changes the head on its way upstream.
    fn rewrite(&self, route: &Route, forward: &Forward, chosen: &Chosen<'_>, limits: &Limits) {
        let mut state = self.record.state.borrow_mut();
        if holds_envoy(&state.head.headers, &ASKS) {
            for name in &ASKS {
                state.head.headers.remove(name);
            }
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
        if host.is_some()
            && !self.conn.hcm.suppress_envoy_headers
            && let Ok(original) = HeaderValue::from_str(&state.head.authority)
        {
            state.head.headers.insert(ORIGINAL_HOST, original);
        }
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
        response.headers_mut().remove(NOT_DELIVERED);
        let mut response = match self.upgrade.take() {
            Some(wanted) if granted => {
                self.joined = true;
                let tunnel = Tunnel {
                    conn: self.conn.clone(),
                    record: self.record.clone(),
                    idle: limits.idle,
                    max_end: limits.max_end,
                };
                let response = wanted.join(response, lease, tunnel, (active, permit, gauge));
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
                (response, Some(tail))
            }
        };
        self.finish_headers(route, chosen, &mut response.0);
        Ok(response)
    }

    fn note_response(&self, response: &Response<Body>, cluster: &Cluster, host: &Host) {
        let mut state = self.record.state.borrow_mut();
        let now = Instant::now();
        state.info.timings.upstream_response_start = Some(now);
        state.info.details = Some("via_upstream".into());
        let stats = &cluster.stats;
        stats.upstream_rq_time().record_duration(now.saturating_duration_since(state.info.start));
        let failed = response.status().is_server_error();
        let counter = if failed { &host.state.errors } else { &host.state.successes };
        counter.fetch_add(1, Ordering::Relaxed);
        cluster.count_response(response.status());
    }

    fn finish_headers(&self, route: &Route, chosen: &Chosen<'_>, response: &mut Response<Body>) {
        let state = self.record.state.borrow();
        if !self.conn.hcm.suppress_envoy_headers {
            let timings = &state.info.timings;
            let begin = timings.request_end.unwrap_or(state.info.start);
            let millis = timings
                .upstream_response_start
                .map_or(0, |at| at.saturating_duration_since(begin).as_millis());
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
}

/// Applies changes to the request's headers; variables read the headers as they were.
fn mutate(state: &mut State, lists: &[&[Mutation]]) -> PseudoChanges {
    let mut changes = PseudoChanges::default();
    if lists.iter().all(|list| list.is_empty()) {
        return changes;
    }
    let mut changed = state.head.headers.clone();
    for list in lists {
        let more = headers::apply(list, &mut changed, &state.context());
        changes = PseudoChanges {
            authority: more.authority.or(changes.authority),
            path: more.path.or(changes.path),
        };
    }
    state.head.headers = changed;
    changes
}
