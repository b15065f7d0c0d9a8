//! Where a pod can go from where it is.

use jiff::Timestamp;

use super::{Action, Ending, Phase, State, Stop, after};
use crate::pod::plan::{Plan, RestartPolicy, Role};

/// Seconds to wait before a restart, given the failures in a row: the first at once, the second soon, then Kubernetes'
/// 10 s doubling up to five minutes.
pub fn backoff(failures: u32) -> u32 {
    match failures {
        0 | 1 => 0,
        2 => 1,
        n => (10_u32 << (n - 3).min(5)).min(300),
    }
}

pub(super) fn advance(plan: &Plan, state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    kill_overdue(state, now, actions);
    if state.ending.is_none() {
        restarts(plan, state, now, actions);
        if state.sandbox {
            start_next(plan, state, now, actions);
        }
        if is_over(plan, state) {
            state.ending = Some(Ending { deleted: false, deadline: after(now, plan.grace) });
        }
    }
    if state.ending.is_some() {
        end(plan, state, actions);
    }
}

fn kill_overdue(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    let pod_deadline = state.ending.as_ref().map(|e| e.deadline);
    for (index, container) in state.containers.iter_mut().enumerate() {
        let due = [container.deadline, pod_deadline].into_iter().flatten().any(|deadline| now >= deadline);
        if due && container.running() && container.stop != Stop::Killed {
            container.stop = Stop::Killed;
            actions.push(Action::Kill(index));
        }
    }
}

/// Whether a container that ended is to run again.
fn runs_again(plan: &Plan, role: Role, code: i32) -> bool {
    match (role, plan.restart_policy) {
        (Role::Sidecar, _) | (Role::App, RestartPolicy::Always) => true,
        (Role::Init, RestartPolicy::Never) | (Role::App, RestartPolicy::Never) => false,
        (Role::Init, _) | (Role::App, RestartPolicy::OnFailure) => code != 0,
    }
}

/// Puts ended containers that are to run again into their back-off.
fn restarts(plan: &Plan, state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    for (index, (container, spec)) in state.containers.iter_mut().zip(&plan.containers).enumerate() {
        let Phase::Terminated(ended) = &container.phase else { continue };
        if !runs_again(plan, spec.role, ended.code) {
            continue;
        }
        container.last = Some(ended.clone());
        container.restarts += 1;
        container.failures += 1;
        let delay = backoff(container.failures);
        if delay > 0 {
            actions.push(Action::BackOff(index));
        }
        container.phase = Phase::Waiting {
            reason: "CrashLoopBackOff".into(),
            message: format!("back-off {delay}s restarting failed container={}", spec.name),
            until: Some(after(now, delay.into())),
        };
    }
}

fn due(phase: &Phase, now: Timestamp) -> bool {
    matches!(phase, Phase::Waiting { until, .. } if until.is_none_or(|until| now >= until))
}

/// Starts what may start: init containers one after the other, then all of the app, each after the hook of the one before.
fn start_next(plan: &Plan, state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    let initialized =
        state.containers.iter().zip(&plan.containers).any(|(c, p)| {
            p.role == Role::App && (c.restarts > 0 || !matches!(c.phase, Phase::Waiting { .. }))
        });
    for (index, (container, spec)) in state.containers.iter_mut().zip(&plan.containers).enumerate() {
        if spec.role == Role::Init && initialized {
            continue;
        }
        if due(&container.phase, now) {
            container.phase = Phase::Starting;
            actions.push(Action::Start(index));
        }
        let may_go_on = match spec.role {
            Role::Init => container.ended().is_some_and(|e| e.code == 0),
            Role::Sidecar => container.started || initialized,
            // A container that waits for something does not hold up those after it; a hook does.
            Role::App => match container.phase {
                Phase::Starting => false,
                Phase::Running { .. } => container.hooked,
                Phase::Waiting { .. } | Phase::Terminated(_) => true,
            },
        };
        if !may_go_on {
            return;
        }
    }
}

/// Whether the pod has done its work, or can do none any more.
fn is_over(plan: &Plan, state: &State) -> bool {
    let mut apps = true;
    for (container, spec) in state.containers.iter().zip(&plan.containers) {
        match (spec.role, container.ended()) {
            // What is to run again is no longer in this phase, so this one failed for good.
            (Role::Init, Some(ended)) if ended.code != 0 => return true,
            (Role::App, None) => apps = false,
            _ => {}
        }
    }
    apps
}

/// Stops the app, then the sidecars from the last to the first.
fn end(plan: &Plan, state: &mut State, actions: &mut Vec<Action>) {
    let Some(ending) = state.ending.clone() else { return };
    let live = |phase: &Phase| matches!(phase, Phase::Running { .. } | Phase::Starting);
    let mut others_live = false;
    for (index, (container, spec)) in state.containers.iter_mut().zip(&plan.containers).enumerate() {
        if spec.role != Role::Sidecar {
            container.stop(index, spec.pre_stop, ending.deadline, actions);
            others_live |= live(&container.phase);
        }
    }
    for (index, (container, spec)) in state.containers.iter_mut().zip(&plan.containers).enumerate().rev() {
        if others_live {
            break;
        }
        if spec.role == Role::Sidecar {
            container.stop(index, spec.pre_stop, ending.deadline, actions);
            others_live = live(&container.phase);
        }
    }
    if ending.deleted && !state.finished && !state.containers.iter().any(|c| live(&c.phase)) {
        state.finished = true;
        actions.push(Action::Finish);
    }
}
