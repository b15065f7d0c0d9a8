//! The life of a pod as a pure state machine: events in, actions out. No clock, no process, no API in here.

mod advance;
mod apply;

use jiff::Timestamp;

use super::plan::{Plan, Role};

pub use advance::backoff;

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminated {
    /// The exit code; 128 + signal after a signal.
    pub code: i32,
    /// `Completed`, `Error`, `StartError` …
    pub reason: String,
    /// More about it.
    pub message: String,
    /// When the run began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The container's id.
    pub id: String,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not running; with Kubernetes' reason, and when to try (again), if that is set.
    Waiting {
        /// `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff`, `ErrImagePull` …
        reason: String,
        /// More about it.
        message: String,
        /// Not before this moment.
        until: Option<Timestamp>,
    },
    /// The shell has been told to start it.
    Starting,
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
        /// The container's id.
        id: String,
    },
    /// Ended.
    Terminated(Terminated),
}

/// How far the stopping of a running container has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not begun.
    No,
    /// The preStop hook runs.
    Hook,
    /// SIGTERM was sent.
    Asked,
    /// SIGKILL was sent.
    Killed,
}

/// One container's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What it is doing.
    pub phase: Phase,
    /// How its run before this one ended.
    pub last: Option<Terminated>,
    /// How often it was started again.
    pub restarts: u32,
    /// Failures in a row, for the back-off.
    pub failures: u32,
    /// Its postStart hook is done.
    pub hooked: bool,
    /// Its startup probe has passed (or it has none) and the hook is done.
    pub started: bool,
    /// Its readiness probe says so (or it has none).
    pub ready: bool,
    /// How far its stopping has got.
    pub stop: Stop,
    /// When it is killed, if it is being stopped by itself.
    pub deadline: Option<Timestamp>,
}

/// Why a pod ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// It was deleted, as opposed to having done its work (or failed).
    pub deleted: bool,
    /// When what still runs is killed.
    pub deadline: Timestamp,
}

/// A pod's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its containers, in the plan's order.
    pub containers: Vec<Container>,
    /// It has its network and volumes.
    pub sandbox: bool,
    /// It is on its way out.
    pub ending: Option<Ending>,
    /// Everything has ended after a deletion.
    pub finished: bool,
}

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Until it passes once, the others do not run.
    Startup,
    /// Failing restarts the container.
    Liveness,
    /// Failing takes the pod out of its services.
    Readiness,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Network and volumes are there.
    SandboxReady,
    /// The API wants the pod gone, with this grace in seconds.
    Deleted(i64),
    /// A container runs.
    Started(usize, String),
    /// A container could not be started and may be tried again: reason and message.
    NotStarted(usize, String, String),
    /// Something that a container waits for has changed: try again now.
    Retry(usize),
    /// The postStart hook ended, well or not.
    PostStart(usize, Result<(), String>),
    /// The preStop hook ended.
    PreStop(usize),
    /// A container ended with this code; reason and message if they are not the usual ones.
    Exited(usize, i32, Option<(String, String)>),
    /// A probe's verdict has changed.
    Probe(usize, ProbeKind, bool),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a container.
    Start(usize),
    /// Begin to probe it.
    Probe(usize, ProbeKind),
    /// Run its postStart hook.
    PostStart(usize),
    /// Run its preStop hook.
    PreStop(usize),
    /// Send it SIGTERM.
    Terminate(usize),
    /// Send it SIGKILL.
    Kill(usize),
    /// Tell the user that it is held back.
    BackOff(usize),
    /// All is over: take the sandbox down and tell the API.
    Finish,
}

impl State {
    /// The state of a pod that has just been bound to this node.
    pub fn new(plan: &Plan) -> Self {
        let inits = plan.containers.iter().any(|c| c.role != Role::App);
        let waiting = |role: Role| {
            let reason = if inits && role != Role::Init { "PodInitializing" } else { "ContainerCreating" };
            Phase::Waiting { reason: reason.into(), message: String::new(), until: None }
        };
        let containers = plan.containers.iter().map(|c| Container {
            phase: waiting(c.role),
            last: None,
            restarts: 0,
            failures: 0,
            hooked: false,
            started: false,
            ready: false,
            stop: Stop::No,
            deadline: None,
        });
        Self { containers: containers.collect(), sandbox: false, ending: None, finished: false }
    }

    /// The earliest moment at which [`Event::Tick`] would change something.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let ending = self.ending.as_ref().map(|e| e.deadline);
        let any_running = self.containers.iter().any(|c| c.running() && c.stop != Stop::Killed);
        let containers = self.containers.iter().filter_map(|c| match &c.phase {
            Phase::Waiting { until, .. } if self.ending.is_none() => *until,
            Phase::Running { .. } if c.stop != Stop::Killed => c.deadline,
            _ => None,
        });
        containers.chain(ending.filter(|_| any_running)).min()
    }
}

impl Container {
    /// Whether a process of it exists.
    pub fn running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// How its last run ended, if it has ended.
    pub fn ended(&self) -> Option<&Terminated> {
        match &self.phase {
            Phase::Terminated(ended) => Some(ended),
            _ => None,
        }
    }
}

/// Takes an event into account and says what to do.
pub fn decide(plan: &Plan, state: &mut State, event: Event, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    apply::apply(plan, state, event, now, &mut actions);
    advance::advance(plan, state, now, &mut actions);
    actions
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Seconds before a start that failed for want of something is tried again.
fn retry_delay(failures: u32) -> i64 {
    match failures {
        0..=2 => 2,
        n => i64::from(backoff(n - 1)),
    }
}

#[cfg(test)]
mod tests;
