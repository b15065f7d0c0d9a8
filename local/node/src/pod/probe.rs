//! Probes and hooks: looking at a container from outside.

mod look;
mod tls;

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::time::Instant;

use look::check;
pub use look::hook;

use super::state::ProbeKind;
use crate::container::spec::Process;

/// The container that is looked at.
#[derive(Clone)]
pub struct Target {
    /// Its pod's address.
    pub address: IpAddr,
    /// Its specification, for the names of ports.
    pub container: Container,
    /// Its init process.
    pub init: i32,
    /// What an exec in it starts from.
    pub process: Process,
}

/// Between looks at a container that has not passed yet; these do not count as failures.
const EAGER: Duration = Duration::from_millis(100);
const EAGER_EXEC: Duration = Duration::from_millis(250);
/// For how long after the start we look eagerly.
const EAGER_FOR: Duration = Duration::from_secs(60);

/// Counts passes and failures and says when the verdict changes. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    passes: i32,
    failures: i32,
    pass_at: i32,
    fail_at: i32,
    now: Option<bool>,
}

impl Verdict {
    /// The verdict before the first look.
    pub fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let now = match kind {
            ProbeKind::Startup => None,
            ProbeKind::Liveness => Some(true),
            ProbeKind::Readiness => Some(false),
        };
        let at_least_one = |n: Option<i32>, default| n.unwrap_or(default).max(1);
        let (pass_at, fail_at) =
            (at_least_one(probe.success_threshold, 1), at_least_one(probe.failure_threshold, 3));
        Self { passes: 0, failures: 0, pass_at, fail_at, now }
    }

    /// Takes one look into account; the new verdict if it has changed.
    pub fn record(&mut self, passed: bool) -> Option<bool> {
        let (count, other, at) = if passed {
            (&mut self.passes, &mut self.failures, self.pass_at)
        } else {
            (&mut self.failures, &mut self.passes, self.fail_at)
        };
        *count = count.saturating_add(1);
        *other = 0;
        if *count >= at && self.now != Some(passed) {
            self.now = Some(passed);
            return Some(passed);
        }
        None
    }
}

/// Probes until the task is dropped, or for a startup probe until there is a verdict.
pub async fn run(
    target: Target,
    kind: ProbeKind,
    probe: Probe,
    report: impl Fn(Option<bool>, Option<String>),
) {
    let seconds =
        |n: Option<i32>, default: i32| Duration::from_secs(u64::try_from(n.unwrap_or(default)).unwrap_or(1));
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let patience = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let eager = if probe.exec.is_some() { EAGER_EXEC } else { EAGER };
    let begun = Instant::now();
    let mut due = begun + period.min(Duration::from_secs(1));
    let mut verdict = Verdict::new(kind, &probe);
    let mut passed_once = kind == ProbeKind::Liveness;
    loop {
        let looked = tokio::time::timeout(patience, check(&target, &probe)).await;
        let result = looked.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())));
        match result {
            Ok(()) => {
                passed_once = true;
                if let Some(now) = verdict.record(true) {
                    report(Some(now), None);
                    if kind == ProbeKind::Startup {
                        return;
                    }
                }
                due = Instant::now() + period;
            }
            Err(message) if Instant::now() >= due || passed_once => {
                due = Instant::now() + period;
                let change = verdict.record(false);
                report(change, Some(message));
                if change.is_some() && kind != ProbeKind::Readiness {
                    return;
                }
            }
            Err(_) => {}
        }
        let next =
            if passed_once || begun.elapsed() > EAGER_FOR { due } else { due.min(Instant::now() + eager) };
        tokio::time::sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests;
