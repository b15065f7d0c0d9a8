//! What the state machine must know of a pod's specification.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// Which part a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: runs beside the app, starts before it and ends after it.
    Sidecar,
    /// The app.
    App,
}

/// When ended containers are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always.
    Always,
    /// After a failure.
    OnFailure,
    /// Never.
    Never,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Its name.
    pub name: String,
    /// Its part.
    pub role: Role,
    /// Whether it has a startup probe.
    pub startup_probe: bool,
    /// Whether it has a readiness probe.
    pub readiness_probe: bool,
    /// Whether it has a postStart hook.
    pub post_start: bool,
    /// Whether it has a preStop hook.
    pub pre_stop: bool,
}

/// A pod: its containers, init containers first, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The containers.
    pub containers: Vec<ContainerPlan>,
    /// The pod's restart policy.
    pub restart_policy: RestartPolicy,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace: i64,
}

impl Plan {
    /// Reads the plan of a pod.
    pub fn of(pod: &Pod) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let inits = spec.init_containers.iter().flatten().map(|c| {
            let sidecar = c.restart_policy.as_deref() == Some("Always");
            container(c, if sidecar { Role::Sidecar } else { Role::Init })
        });
        let apps = spec.containers.iter().map(|c| container(c, Role::App));
        Self {
            containers: inits.chain(apps).collect(),
            restart_policy: match spec.restart_policy.as_deref() {
                Some("Never") => RestartPolicy::Never,
                Some("OnFailure") => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            grace: spec.termination_grace_period_seconds.unwrap_or(30).max(0),
        }
    }
}

fn container(spec: &Container, role: Role) -> ContainerPlan {
    let lifecycle = spec.lifecycle.as_ref();
    ContainerPlan {
        name: spec.name.clone(),
        role,
        startup_probe: spec.startup_probe.is_some() && role != Role::Init,
        readiness_probe: spec.readiness_probe.is_some() && role != Role::Init,
        post_start: lifecycle.is_some_and(|l| l.post_start.is_some()) && role != Role::Init,
        pre_stop: lifecycle.is_some_and(|l| l.pre_stop.is_some()) && role != Role::Init,
    }
}

/// The specifications of a pod's containers in the plan's order.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(spec.containers.iter())
}
