//! Trying again: which outcomes are repeated, how often, after which wait.

use std::time::Duration;

use http::header::HeaderValue;
use tokio::time::Instant;

use super::attempt::{Answer, Missed, Plan};
use super::exchange::Exchange;
use super::limits::Limits;
use crate::failure::Failure;
use crate::route::Route;
use crate::route::action::ATTEMPT_COUNT;
use crate::route::retry::{Broken, RetryPolicy, is_not_delivered};
use crate::telemetry::Flags;
use crate::upstream::breaker::Permit;
use crate::upstream::hold::{Held, Hold};

impl Exchange {
    /// Tries until there is an answer to keep.
    pub(super) async fn attempts(
        &self,
        plan: &Plan,
        retry: &RetryPolicy,
        limits: &Limits,
        route: &Route,
    ) -> Result<Answer, Failure> {
        let stats = &plan.cluster.stats;
        let mut attempt = Attempts::default();
        loop {
            attempt.made += 1;
            self.record.state.borrow_mut().info.upstream.attempts = attempt.made;
            if route.attempt_count.0 {
                let mut state = self.record.state.borrow_mut();
                state.head.headers.insert(ATTEMPT_COUNT, HeaderValue::from(attempt.made));
            }
            let tried = match retry.per_try_timeout {
                None => plan.attempt(&attempt.avoid, attempt.fresh).await,
                Some(timeout) => {
                    match tokio::time::timeout(timeout, plan.attempt(&attempt.avoid, attempt.fresh)).await {
                        Ok(tried) => tried,
                        Err(_) => {
                            stats.upstream_rq_per_try_timeout().inc();
                            let host = plan.picked.take();
                            Err(Missed { failure: Failure::PerTryTimeout, host, stale: false })
                        }
                    }
                }
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
            let undelivered = match &tried {
                Ok(answer) => is_not_delivered(answer.response.status(), answer.response.headers()),
                Err(missed) => missed.failure.is_undelivered(),
            };
            if tried.is_ok() && !undelivered {
                plan.cluster.hold.answered();
            }
            let deadline = limits.response.and_then(|timeout| Some(self.upload.ended()? + timeout));
            if undelivered
                && retry.after_break(Broken::Connect)
                && let Some((held, wait)) = attempt.may_wait(self, plan, deadline)
            {
                drop(tried);
                attempt.fresh = false;
                tokio::time::sleep(wait).await;
                drop(held);
                continue;
            }
            if !again || !attempt.may_retry(self, plan, retry) {
                if attempt.retried > 0 && tried.is_ok() && !again {
                    stats.upstream_rq_retry_success().inc();
                }
                return tried.map_err(|missed| missed.failure);
            }
            if let Ok(answer) = &tried {
                plan.cluster.count_retried(answer.response.status());
            }
            drop(tried);
            attempt.fresh = false;
            attempt.avoid.extend(host.filter(|_| retry.avoid_previous_hosts));
            tokio::time::sleep(retry.wait(attempt.retried, fastrand::u64(..))).await;
        }
    }
}

/// How far the attempts of a request are.
#[derive(Default)]
struct Attempts {
    avoid: Vec<u64>,
    made: u32,
    retried: u32,
    held: u32,
    fresh: bool,
    permit: Option<Permit>,
}

impl Attempts {
    /// Whether a request that no host took may wait for one to come back, and how long before the next try.
    fn may_wait<'a>(
        &mut self,
        exchange: &Exchange,
        plan: &'a Plan,
        deadline: Option<Instant>,
    ) -> Option<(Held<'a>, Duration)> {
        let now = Instant::now();
        let wait = Hold::wait(self.held, fastrand::f64());
        // With less time than that the answer is the failure itself and not a time-out.
        if !exchange.upload.can_replay() || deadline.is_some_and(|deadline| now + wait >= deadline) {
            return None;
        }
        let held = plan.cluster.hold.take(now)?;
        if !self.has_permit(plan) {
            return None;
        }
        self.held += 1;
        plan.cluster.stats.upstream_rq_retry().inc();
        Some((held, wait))
    }

    /// Takes a share of the retries that the cluster allows at a time.
    fn has_permit(&mut self, plan: &Plan) -> bool {
        if self.permit.is_none() {
            self.permit = plan.cluster.breakers(plan.high_priority).retries.take();
        }
        self.permit.is_some()
    }

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
        if !self.has_permit(plan) {
            stats.upstream_rq_retry_overflow().inc();
            return false;
        }
        self.retried += 1;
        stats.upstream_rq_retry().inc();
        stats.upstream_rq_retry_backoff_exponential().inc();
        true
    }
}
