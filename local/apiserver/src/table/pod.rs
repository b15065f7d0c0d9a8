//! The pod's READY, STATUS and RESTARTS, as kubectl computes them.

use super::format::{NONE, or_none, seconds_since, span};
use crate::object::{int, is_terminating, list, text};
use serde_json::{Value, json};

/// Headings.
pub const COLUMNS: &[&str] =
    &["Name", "Ready", "Status", "Restarts", "Age", "+IP", "+Node", "+Nominated Node", "+Readiness Gates"];

/// Cells after the name.
pub fn cells(pod: &Value) -> Vec<Value> {
    let state = state(pod);
    let gates = list(pod, "/spec/readinessGates");
    let passed = gates.iter().filter(|g| condition(pod, text(g, "/conditionType"))).count();
    let gates = if gates.is_empty() { NONE.to_owned() } else { format!("{passed}/{}", gates.len()) };
    vec![
        json!(format!("{}/{}", state.ready, state.total)),
        json!(state.status),
        json!(state.restarts_text()),
        super::age(pod),
        or_none(pod, "/status/podIP"),
        or_none(pod, "/spec/nodeName"),
        or_none(pod, "/status/nominatedNodeName"),
        json!(gates),
    ]
}

#[derive(Debug, Default)]
struct State {
    ready: usize,
    total: usize,
    status: String,
    restarts: i64,
    last_restart: Option<String>,
}

impl State {
    fn restarts_text(&self) -> String {
        match self.last_restart.as_deref().and_then(seconds_since) {
            Some(ago) if self.restarts > 0 => format!("{} ({} ago)", self.restarts, span(ago)),
            _ => self.restarts.to_string(),
        }
    }

    fn count(&mut self, status: &Value) {
        self.restarts += int(status, "/restartCount").unwrap_or(0);
        let finished = text(status, "/lastState/terminated/finishedAt");
        if !finished.is_empty() && self.last_restart.as_deref().is_none_or(|l| l < finished) {
            self.last_restart = Some(finished.to_owned());
        }
    }
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions").iter().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

fn is_sidecar(pod: &Value, name: &str) -> bool {
    let found = list(pod, "/spec/initContainers").iter().find(|c| text(c, "/name") == name);
    found.is_some_and(|c| text(c, "/restartPolicy") == "Always")
}

fn state(pod: &Value) -> State {
    let mut out = State { total: list(pod, "/spec/containers").len(), ..State::default() };
    let inits = list(pod, "/spec/initContainers");
    out.total += inits.iter().filter(|c| text(c, "/restartPolicy") == "Always").count();
    out.status = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase").to_owned(),
        reason => reason.to_owned(),
    };
    if gated(pod) {
        out.status = "SchedulingGated".into();
    }
    let initializing = init_status(pod, &mut out);
    if !initializing || condition(pod, "Initialized") {
        main_status(pod, &mut out);
    }
    if is_terminating(pod) {
        out.status = if text(pod, "/status/reason") == "NodeLost" {
            "Unknown".into()
        } else if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            out.status
        } else {
            "Terminating".into()
        };
    }
    out
}

fn gated(pod: &Value) -> bool {
    let scheduled = list(pod, "/status/conditions").iter().find(|c| text(c, "/type") == "PodScheduled");
    scheduled.is_some_and(|c| text(c, "/reason") == "SchedulingGated")
}

/// `Init:…` while init containers run; returns whether they do.
fn init_status(pod: &Value, out: &mut State) -> bool {
    let total = list(pod, "/spec/initContainers").len();
    for (i, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let sidecar = is_sidecar(pod, text(status, "/name"));
        out.count(status);
        if sidecar {
            if status["ready"] == json!(true) {
                out.ready += 1;
            }
            if status["started"] == json!(true) {
                continue;
            }
        }
        let terminated = status.pointer("/state/terminated");
        if terminated.is_some_and(|t| int(t, "/exitCode") == Some(0)) {
            continue;
        }
        out.status = match terminated {
            Some(t) => format!("Init:{}", ended(t)),
            None => match text(status, "/state/waiting/reason") {
                "" | "PodInitializing" => format!("Init:{i}/{total}"),
                reason => format!("Init:{reason}"),
            },
        };
        count_ready_sidecars(pod, i + 1, out);
        return true;
    }
    false
}

/// Sidecars after the first one that is not done still count as ready.
fn count_ready_sidecars(pod: &Value, from: usize, out: &mut State) {
    for status in list(pod, "/status/initContainerStatuses").iter().skip(from) {
        out.count(status);
        if is_sidecar(pod, text(status, "/name")) && status["ready"] == json!(true) {
            out.ready += 1;
        }
    }
}

fn ended(terminated: &Value) -> String {
    match (text(terminated, "/reason"), int(terminated, "/signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", int(terminated, "/exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn main_status(pod: &Value, out: &mut State) {
    let mut running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        out.count(status);
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            out.status = waiting.to_owned();
        } else if let Some(terminated) = status.pointer("/state/terminated") {
            out.status = ended(terminated);
        } else if status["ready"] == json!(true) && status.pointer("/state/running").is_some() {
            running = true;
            out.ready += 1;
        }
    }
    // One container has completed, another still runs: the pod runs.
    if out.status == "Completed" && running {
        out.status = if condition(pod, "Ready") { "Running".into() } else { "NotReady".into() };
    }
}
