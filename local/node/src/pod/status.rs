//! A pod's state as the API shows it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Plan, Role, containers};
use super::state::{Container, Phase, State, Terminated};

/// Where the pod is, for its status.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Its address, once it has one.
    pub pod_ip: Option<String>,
    /// The node's address.
    pub host_ip: String,
    /// When the node took it on.
    pub since: Option<Timestamp>,
}

/// Writes the status; `now` is for the conditions that change.
pub fn status(pod: &Pod, plan: &Plan, state: &State, place: &Place, now: Timestamp) -> PodStatus {
    let specs: Vec<&Spec> = pod.spec.iter().flat_map(containers).collect();
    let mut inits = Vec::new();
    let mut apps = Vec::new();
    for ((container, plan_of), spec) in state.containers.iter().zip(&plan.containers).zip(specs) {
        let status = container_status(container, spec, plan_of.role);
        if plan_of.role == Role::App { apps.push(status) } else { inits.push(status) }
    }
    PodStatus {
        phase: Some(phase(plan, state).into()),
        conditions: Some(conditions(pod, plan, state, now)),
        container_statuses: Some(apps),
        init_container_statuses: Some(inits).filter(|i| !i.is_empty()),
        host_ip: Some(place.host_ip.clone()),
        host_ips: Some(vec![HostIP { ip: place.host_ip.clone() }]),
        pod_ip: place.pod_ip.clone(),
        pod_ips: place.pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        start_time: place.since.map(Time),
        // The API server decides it once, when the pod is made.
        qos_class: pod.status.as_ref().and_then(|status| status.qos_class.clone()),
        ..PodStatus::default()
    }
}

fn role<'a>(
    plan: &'a Plan,
    state: &'a State,
    wanted: impl Fn(Role) -> bool + 'a,
) -> impl Iterator<Item = &'a Container> {
    state.containers.iter().zip(&plan.containers).filter(move |(_, p)| wanted(p.role)).map(|(c, _)| c)
}

fn initialized(plan: &Plan, state: &State) -> bool {
    state.containers.iter().zip(&plan.containers).all(|(c, p)| match p.role {
        Role::Init => c.ended().is_some_and(|e| e.code == 0),
        Role::Sidecar => c.started || c.restarts > 0 || c.ended().is_some(),
        Role::App => true,
    })
}

/// `Pending`, `Running`, `Succeeded` or `Failed`.
pub fn phase(plan: &Plan, state: &State) -> &'static str {
    let over = state.ending.as_ref().is_some_and(|e| !e.deleted)
        || (state.ending.is_some() && state.containers.iter().all(|c| !c.running()));
    if over {
        let failed_init =
            role(plan, state, |r| r == Role::Init).any(|c| c.ended().is_some_and(|e| e.code != 0));
        let apps: Vec<_> = role(plan, state, |r| r == Role::App).map(Container::ended).collect();
        if failed_init || apps.iter().flatten().any(|e| e.code != 0) {
            return "Failed";
        }
        if !apps.is_empty() && apps.iter().all(Option::is_some) {
            return "Succeeded";
        }
    }
    let begun =
        role(plan, state, |r| r == Role::App).any(|c| c.running() || c.restarts > 0 || c.ended().is_some());
    if begun { "Running" } else { "Pending" }
}

fn container_status(container: &Container, spec: &Spec, role: Role) -> ContainerStatus {
    let (state, id) = match &container.phase {
        Phase::Waiting { reason, message, .. } => (waiting(reason, message), last_id(container)),
        Phase::Starting => match &container.last {
            Some(last) => (terminated(last), last_id(container)),
            None => {
                (waiting(if role == Role::App { "ContainerCreating" } else { "PodInitializing" }, ""), None)
            }
        },
        Phase::Running { since, id } => {
            let running = ContainerStateRunning { started_at: Some(Time(*since)) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, Some(id.clone()))
        }
        Phase::Terminated(ended) => (terminated(ended), Some(ended.id.clone())),
    };
    let image = spec.image.clone().unwrap_or_default();
    let ready = match role {
        Role::Init => container.ended().is_some_and(|e| e.code == 0),
        _ => container.ready,
    };
    ContainerStatus {
        name: spec.name.clone(),
        image_id: if id.is_some() { format!("meltemi://{image}") } else { String::new() },
        image,
        ready,
        started: Some(if role == Role::Init { container.running() } else { container.started }),
        restart_count: i32::try_from(container.restarts).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(container.last.as_ref().map(terminated).unwrap_or_default()),
        container_id: id.map(|id| format!("meltemi://{id}")),
        ..ContainerStatus::default()
    }
}

fn last_id(container: &Container) -> Option<String> {
    container.last.as_ref().map(|last| last.id.clone())
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = Some(message.to_owned()).filter(|m| !m.is_empty());
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(ended: &Terminated) -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: ended.code,
        reason: Some(ended.reason.clone()),
        message: Some(ended.message.clone()).filter(|m| !m.is_empty()),
        started_at: Some(Time(ended.started)),
        finished_at: Some(Time(ended.finished)),
        container_id: Some(format!("meltemi://{}", ended.id)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn conditions(pod: &Pod, plan: &Plan, state: &State, now: Timestamp) -> Vec<PodCondition> {
    let phase = phase(plan, state);
    let names = |wanted: &dyn Fn(&Container) -> bool, roles: &dyn Fn(Role) -> bool| {
        let found: Vec<&str> = state
            .containers
            .iter()
            .zip(&plan.containers)
            .filter(|(c, p)| roles(p.role) && wanted(c))
            .map(|(_, p)| p.name.as_str())
            .collect();
        found.join(" ")
    };
    let unready = names(&|c| !c.ready, &|r| r != Role::Init);
    let not_initialized = names(&|c| c.ended().is_none_or(|e| e.code != 0), &|r| r == Role::Init);
    let why_not = match phase {
        _ if unready.is_empty() => None,
        "Succeeded" => Some(("PodCompleted", String::new())),
        "Failed" => Some(("PodFailed", String::new())),
        _ => Some(("ContainersNotReady", format!("containers with unready status: [{unready}]"))),
    };
    let incomplete =
        || ("ContainersNotInitialized", format!("containers with incomplete status: [{not_initialized}]"));
    let init = (!initialized(plan, state)).then(incomplete);
    let sandbox = if state.sandbox { None } else { Some(("", String::new())) };
    let parts = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", init),
        ("Ready", why_not.clone()),
        ("ContainersReady", why_not),
        ("PodScheduled", None),
    ];
    let old = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let old: BTreeMap<&str, &PodCondition> = old.map(|c| (c.type_.as_str(), c)).collect();
    parts.into_iter().map(|(kind, why_not)| condition(kind, why_not, old.get(kind).copied(), now)).collect()
}

fn condition(
    kind: &str,
    why_not: Option<(&str, String)>,
    old: Option<&PodCondition>,
    now: Timestamp,
) -> PodCondition {
    let status = if why_not.is_none() { "True" } else { "False" };
    let since = old.filter(|o| o.status == status).and_then(|o| o.last_transition_time.clone());
    let (reason, message) = why_not.unwrap_or_default();
    PodCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.to_owned()).filter(|r| !r.is_empty()),
        message: Some(message).filter(|m| !m.is_empty()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        ..PodCondition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::state::{Event, decide};
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "restartPolicy": "Never",
            "initContainers": [{"name": "init", "image": "i"}],
            "containers": [{"name": "app", "image": "a", "resources": {"requests": {"cpu": "1"}}}]
        }, "status": {"qosClass": "Burstable"}}))
        .unwrap()
    }

    fn after(events: Vec<Event>) -> serde_json::Value {
        let pod = pod();
        let plan = Plan::of(&pod);
        let mut state = State::new(&plan);
        for event in events {
            decide(&plan, &mut state, event, Timestamp::UNIX_EPOCH);
        }
        serde_json::to_value(status(&pod, &plan, &state, &Place::default(), Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn the_words_that_kubectl_shows() {
        let started = |i: usize| Event::Started(i, "id".into());
        let at_first = after(vec![]);
        assert_eq!(at_first["phase"], "Pending");
        assert_eq!(at_first["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
        assert_eq!(at_first["qosClass"], "Burstable");
        let running = after(vec![Event::SandboxReady, started(0), Event::Exited(0, 0, None), started(1)]);
        assert_eq!(running["phase"], "Running");
        assert_eq!(running["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
        assert_eq!(running["containerStatuses"][0]["ready"], true);
        assert!(
            running["conditions"].as_array().unwrap().iter().all(|c| c["status"] == "True"),
            "{running:#}"
        );
        let done = vec![
            Event::SandboxReady,
            started(0),
            Event::Exited(0, 0, None),
            started(1),
            Event::Exited(1, 0, None),
        ];
        let done = after(done);
        assert_eq!(done["phase"], "Succeeded");
        let ready =
            done["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap().clone();
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("PodCompleted")));
        let failed = after(vec![Event::SandboxReady, started(0), Event::Exited(0, 3, None)]);
        assert_eq!(failed["phase"], "Failed");
        assert_eq!(failed["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    }

    #[test]
    fn an_unknown_image_shows_its_reason() {
        let waiting =
            after(vec![Event::SandboxReady, Event::NotStarted(0, "ErrImagePull".into(), "map it".into())]);
        let state = &waiting["initContainerStatuses"][0]["state"]["waiting"];
        assert_eq!((&state["reason"], &state["message"]), (&json!("ErrImagePull"), &json!("map it")));
    }
}
