//! What an event means for the container it is about.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Action, Container, Ending, Event, Phase, ProbeKind, State, Stop, Terminated, after, retry_delay,
};
use crate::pod::plan::{ContainerPlan, Plan};

pub(super) fn apply(plan: &Plan, state: &mut State, event: Event, now: Timestamp, actions: &mut Vec<Action>) {
    match event {
        Event::SandboxReady => state.sandbox = true,
        Event::Deleted(grace) => {
            let deadline = after(now, grace);
            let deadline = state.ending.as_ref().map_or(deadline, |e| e.deadline.min(deadline));
            state.ending = Some(Ending { deleted: true, deadline });
        }
        Event::Tick => {}
        Event::Started(index, _)
        | Event::NotStarted(index, _, _)
        | Event::Retry(index)
        | Event::PostStart(index, _)
        | Event::PreStop(index)
        | Event::Exited(index, _, _)
        | Event::Probe(index, _, _) => {
            if let (Some(container), Some(plan_of)) =
                (state.containers.get_mut(index), plan.containers.get(index))
            {
                let context = Context { plan: plan_of, index, grace: plan.grace, now };
                container.apply(&context, event, actions);
            }
        }
    }
}

struct Context<'a> {
    plan: &'a ContainerPlan,
    index: usize,
    grace: i64,
    now: Timestamp,
}

impl Container {
    fn apply(&mut self, context: &Context<'_>, event: Event, actions: &mut Vec<Action>) {
        let now = context.now;
        match event {
            Event::Started(_, id) => {
                self.phase = Phase::Running { since: now, id };
                self.stop = Stop::No;
                self.deadline = None;
                self.hooked = !context.plan.post_start;
                if context.plan.post_start {
                    actions.push(Action::PostStart(context.index));
                }
                if context.plan.startup_probe {
                    actions.push(Action::Probe(context.index, ProbeKind::Startup));
                }
                self.maybe_started(context, actions, !context.plan.startup_probe);
            }
            Event::NotStarted(_, reason, message) => {
                self.failures += 1;
                let until = Some(after(now, retry_delay(self.failures)));
                self.phase = Phase::Waiting { reason, message, until };
            }
            Event::Retry(_) => {
                if let Phase::Waiting { until, .. } = &mut self.phase {
                    *until = None;
                }
            }
            Event::PostStart(_, Ok(())) => {
                self.hooked = true;
                self.maybe_started(context, actions, !context.plan.startup_probe);
            }
            Event::PostStart(_, Err(_)) => {
                self.stop(context.index, false, after(now, context.grace), actions)
            }
            Event::PreStop(_) if self.running() && self.stop == Stop::Hook => {
                self.stop = Stop::Asked;
                actions.push(Action::Terminate(context.index));
            }
            Event::Exited(_, code, special) => self.exited(code, special, now),
            Event::Probe(_, kind, passed) if self.running() => match (kind, passed) {
                (ProbeKind::Startup, true) => self.maybe_started(context, actions, true),
                (ProbeKind::Readiness, ready) => self.ready = ready && self.started,
                (ProbeKind::Liveness, true) => {}
                (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                    self.stop(context.index, context.plan.pre_stop, after(now, context.grace), actions);
                }
            },
            _ => {}
        }
    }

    fn maybe_started(&mut self, context: &Context<'_>, actions: &mut Vec<Action>, probe_passed: bool) {
        if self.started || !self.hooked || !probe_passed {
            return;
        }
        self.started = true;
        self.ready = !context.plan.readiness_probe;
        actions.push(Action::Probe(context.index, ProbeKind::Liveness));
        if context.plan.readiness_probe {
            actions.push(Action::Probe(context.index, ProbeKind::Readiness));
        }
    }

    fn exited(&mut self, code: i32, special: Option<(String, String)>, now: Timestamp) {
        let (started, id) = match &self.phase {
            Phase::Running { since, id } => (*since, id.clone()),
            _ => (now, String::new()),
        };
        let usual = || (if code == 0 { "Completed" } else { "Error" }.to_owned(), String::new());
        let (reason, message) = special.unwrap_or_else(usual);
        // A run that was long enough is forgiven its failures.
        if now.duration_since(started).unsigned_abs() > Duration::from_secs(600) {
            self.failures = 0;
        }
        self.phase = Phase::Terminated(Terminated { code, reason, message, started, finished: now, id });
        self.hooked = false;
        self.started = false;
        self.ready = false;
        self.stop = Stop::No;
        self.deadline = None;
    }

    /// Begins to stop a running container.
    pub(super) fn stop(&mut self, index: usize, hook: bool, deadline: Timestamp, actions: &mut Vec<Action>) {
        if !self.running() || self.stop != Stop::No {
            return;
        }
        self.deadline = Some(deadline);
        if hook {
            self.stop = Stop::Hook;
            actions.push(Action::PreStop(index));
        } else {
            self.stop = Stop::Asked;
            actions.push(Action::Terminate(index));
        }
    }
}
