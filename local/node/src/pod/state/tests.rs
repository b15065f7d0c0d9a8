use super::*;
use crate::pod::plan::{ContainerPlan, RestartPolicy};
use Action as A;
use Event as E;

fn container(name: &str, role: Role) -> ContainerPlan {
    ContainerPlan {
        name: name.into(),
        role,
        startup_probe: false,
        readiness_probe: false,
        post_start: false,
        pre_stop: false,
    }
}

fn plan(containers: Vec<ContainerPlan>, restart_policy: RestartPolicy) -> Plan {
    Plan { containers, restart_policy, grace: 30 }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// Plays events (with the second at which they happen) and compares the actions of each.
fn play(plan: &Plan, script: Vec<(i64, Event, Vec<Action>)>) -> State {
    let mut state = State::new(plan);
    for (step, (second, event, expected)) in script.into_iter().enumerate() {
        let shown = format!("step {step}: {event:?}");
        let actions = decide(plan, &mut state, event, at(second));
        let actions: Vec<Action> =
            actions.into_iter().filter(|a| !matches!(a, A::Probe(_, ProbeKind::Liveness))).collect();
        assert_eq!(actions, expected, "{shown}; {state:#?}");
    }
    state
}

fn started(index: usize) -> Event {
    E::Started(index, format!("id{index}"))
}

fn exited(index: usize, code: i32) -> Event {
    E::Exited(index, code, None)
}

#[test]
fn init_containers_run_one_after_the_other_then_the_app_at_once() {
    let plan = plan(
        vec![
            container("i0", Role::Init),
            container("i1", Role::Init),
            container("a", Role::App),
            container("b", Role::App),
        ],
        RestartPolicy::Always,
    );
    let state = play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![]),
            (1, exited(0, 0), vec![A::Start(1)]),
            (1, started(1), vec![]),
            (2, exited(1, 0), vec![A::Start(2)]),
            (2, started(2), vec![A::Start(3)]),
            (2, started(3), vec![]),
        ],
    );
    assert!(state.containers[2].ready && state.containers[3].ready);
}

#[test]
fn a_sidecar_must_have_started_before_the_app_and_ends_after_it() {
    let mut sidecar = container("proxy", Role::Sidecar);
    sidecar.startup_probe = true;
    let plan = plan(
        vec![container("init", Role::Init), sidecar, container("app", Role::App)],
        RestartPolicy::Always,
    );
    let state = play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![]),
            (0, exited(0, 0), vec![A::Start(1)]),
            (0, started(1), vec![A::Probe(1, ProbeKind::Startup)]),
            (1, E::Probe(1, ProbeKind::Startup, true), vec![A::Start(2)]),
            (1, started(2), vec![]),
            (5, E::Deleted(30), vec![A::Terminate(2)]),
            (6, exited(2, 143), vec![A::Terminate(1)]),
            (7, exited(1, 0), vec![A::Finish]),
        ],
    );
    assert!(state.finished);
}

#[test]
fn what_does_not_end_in_time_is_killed() {
    let mut app = container("app", Role::App);
    app.pre_stop = true;
    let plan = plan(vec![container("proxy", Role::Sidecar), app], RestartPolicy::Always);
    let state = play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![A::Start(1)]),
            (0, started(1), vec![]),
            (10, E::Deleted(30), vec![A::PreStop(1)]),
            (20, E::PreStop(1), vec![A::Terminate(1)]),
            (30, E::Deleted(5), vec![]),
            (35, E::Tick, vec![A::Kill(0), A::Kill(1)]),
            (35, exited(1, 137), vec![]),
            (35, exited(0, 137), vec![A::Finish]),
        ],
    );
    assert_eq!(state.next_tick(), None);
}

#[test]
fn restarts_come_at_once_then_later_and_later() {
    let plan = plan(vec![container("app", Role::App)], RestartPolicy::Always);
    let state = play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![]),
            (1, exited(0, 1), vec![A::Start(0)]),
            (1, started(0), vec![]),
            (2, exited(0, 1), vec![A::BackOff(0)]),
            (3, E::Tick, vec![A::Start(0)]),
            (3, started(0), vec![]),
            (4, exited(0, 0), vec![A::BackOff(0)]),
            (13, E::Tick, vec![]),
        ],
    );
    assert_eq!((state.containers[0].restarts, state.next_tick()), (3, Some(at(14))));
    let Phase::Waiting { reason, message, .. } = &state.containers[0].phase else { panic!() };
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("CrashLoopBackOff", "back-off 10s restarting failed container=app")
    );
    assert_eq!([3, 4, 5, 8, 9, 100].map(backoff), [10, 20, 40, 300, 300, 300]);
}

#[test]
fn restart_policies() {
    for (policy, code, again) in [
        (RestartPolicy::Never, 1, false),
        (RestartPolicy::Never, 0, false),
        (RestartPolicy::OnFailure, 1, true),
        (RestartPolicy::OnFailure, 0, false),
        (RestartPolicy::Always, 0, true),
    ] {
        let plan = plan(vec![container("proxy", Role::Sidecar), container("app", Role::App)], policy);
        let expected = if again { vec![A::Start(1)] } else { vec![A::Terminate(0)] };
        play(
            &plan,
            vec![
                (0, E::SandboxReady, vec![A::Start(0)]),
                (0, started(0), vec![A::Start(1)]),
                (0, started(1), vec![]),
                (1, exited(1, code), expected),
            ],
        );
    }
}

#[test]
fn a_failed_init_container_is_tried_again_unless_never() {
    let both = vec![container("init", Role::Init), container("app", Role::App)];
    for (policy, expected) in [(RestartPolicy::Never, vec![]), (RestartPolicy::OnFailure, vec![A::Start(0)])]
    {
        let state = play(
            &plan(both.clone(), policy),
            vec![
                (0, E::SandboxReady, vec![A::Start(0)]),
                (0, started(0), vec![]),
                (1, exited(0, 1), expected),
            ],
        );
        assert_eq!(state.ending.is_some(), policy == RestartPolicy::Never);
    }
}

#[test]
fn hooks_hold_up_the_containers_after_them() {
    let mut first = container("first", Role::App);
    first.post_start = true;
    let plan = plan(vec![first, container("second", Role::App)], RestartPolicy::Always);
    play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![A::PostStart(0)]),
            (1, E::PostStart(0, Ok(())), vec![A::Start(1)]),
        ],
    );
    play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![A::PostStart(0)]),
            (1, E::PostStart(0, Err("no".into())), vec![A::Terminate(0)]),
            (2, exited(0, 143), vec![A::Start(0)]),
        ],
    );
}

#[test]
fn probes_make_ready_and_restart() {
    let mut app = container("app", Role::App);
    app.readiness_probe = true;
    app.startup_probe = true;
    let plan = plan(vec![app], RestartPolicy::Always);
    let mut state = play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (0, started(0), vec![A::Probe(0, ProbeKind::Startup)]),
            (1, E::Probe(0, ProbeKind::Startup, true), vec![A::Probe(0, ProbeKind::Readiness)]),
            (2, E::Probe(0, ProbeKind::Readiness, true), vec![]),
        ],
    );
    assert!(state.containers[0].ready);
    decide(&plan, &mut state, E::Probe(0, ProbeKind::Readiness, false), at(3));
    assert!(!state.containers[0].ready);
    assert_eq!(
        decide(&plan, &mut state, E::Probe(0, ProbeKind::Liveness, false), at(4)),
        vec![A::Terminate(0)]
    );
    assert_eq!(decide(&plan, &mut state, E::Tick, at(34)), vec![A::Kill(0)]);
}

#[test]
fn a_start_that_fails_for_want_of_something_is_tried_again() {
    let plan = plan(vec![container("app", Role::App)], RestartPolicy::Always);
    play(
        &plan,
        vec![
            (0, E::SandboxReady, vec![A::Start(0)]),
            (
                0,
                E::NotStarted(0, "CreateContainerConfigError".into(), "configmap \"x\" not found".into()),
                vec![],
            ),
            (1, E::Tick, vec![]),
            (1, E::Retry(0), vec![A::Start(0)]),
            (1, E::NotStarted(0, "ErrImagePull".into(), "unknown".into()), vec![]),
            (1, E::Deleted(30), vec![A::Finish]),
        ],
    );
}

#[test]
fn events_about_containers_that_do_not_exist_do_nothing() {
    let plan = plan(vec![container("app", Role::App)], RestartPolicy::Always);
    play(&plan, vec![(0, started(7), vec![]), (0, E::Probe(0, ProbeKind::Liveness, false), vec![])]);
}
