//! What runs beside the worker for each container: its start, its end, its probes and hooks.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::{Message, Worker};
use crate::pod::live::LiveContainer;
use crate::pod::probe::{self, Target};
use crate::pod::start::{self, Failure, last_words};
use crate::pod::state::{Event, ProbeKind};

impl Worker {
    pub(super) fn start(&mut self, index: usize) {
        let (Some(container), Some(slot)) = (self.container(index), self.slots.get_mut(index)) else {
            return;
        };
        slot.run += 1;
        let run = slot.run;
        let task = Start {
            sources: self.sources(),
            live: self.live.clone(),
            pod: self.pod.clone(),
            recorder: self.recorder.clone(),
            sender: self.sender.clone(),
            failures: self.state.containers.get(index).map_or(0, |c| c.failures),
            container,
            index,
            run,
        };
        // Not among the tasks that are aborted: a start that is under way is finished, and then undone.
        tokio::spawn(task.run());
    }

    fn target(&self, index: usize) -> Option<(Container, Target)> {
        let container = self.container(index)?;
        let live = self.live.containers.lock().get(&container.name).cloned()?;
        let address: IpAddr = self.place.pod_ip.as_deref()?.parse().ok()?;
        let target = Target {
            address,
            container: container.clone(),
            init: live.running.pid(),
            process: live.process.clone(),
        };
        Some((container, target))
    }

    pub(super) fn probe(&mut self, index: usize, kind: ProbeKind) {
        let Some((container, target)) = self.target(index) else { return };
        let spec = match kind {
            ProbeKind::Startup => container.startup_probe,
            ProbeKind::Liveness => container.liveness_probe,
            ProbeKind::Readiness => container.readiness_probe,
        };
        let (Some(spec), Some(slot)) = (spec, self.slots.get_mut(index)) else { return };
        let (run, sender) = (slot.run, self.sender.clone());
        let report = move |verdict: Option<bool>, failure: Option<String>| {
            let _ = sender.send(Message::Probe(index, run, kind, verdict, failure));
        };
        slot.tasks.push(tokio::spawn(probe::run(target, kind, spec, report)).abort_handle());
    }

    pub(super) fn probed(
        &mut self,
        index: usize,
        run: u32,
        kind: ProbeKind,
        verdict: Option<bool>,
        failure: Option<String>,
    ) {
        if self.slots.get(index).is_none_or(|s| s.run != run) {
            return;
        }
        if let Some(failure) = failure {
            self.event(index, "Unhealthy", &format!("{kind:?} probe failed: {failure}"));
        }
        if let Some(passed) = verdict {
            if !passed && kind != ProbeKind::Readiness {
                let name = self.plan.containers.get(index).map(|c| c.name.clone()).unwrap_or_default();
                let kind = format!("{kind:?}").to_lowercase();
                self.event(
                    index,
                    "Killing",
                    &format!("Container {name} failed {kind} probe, will be restarted"),
                );
            }
            self.decide(Event::Probe(index, kind, passed));
        }
    }

    pub(super) fn post_start(&mut self, index: usize) {
        let Some((container, target)) = self.target(index) else { return };
        let handler = container.lifecycle.and_then(|l| l.post_start);
        let patience = self.patience();
        let (Some(handler), Some(slot)) = (handler, self.slots.get_mut(index)) else { return };
        let (sender, recorder, pod) = (self.sender.clone(), self.recorder.clone(), self.pod.clone());
        let task = tokio::spawn(async move {
            let result = probe::hook(&target, &handler, patience).await;
            if let Err(error) = &result {
                recorder.post(&pod, Some(&container.name), "FailedPostStartHook", error);
            }
            let _ = sender.send(Message::Event(Event::PostStart(index, result)));
        });
        slot.tasks.push(task.abort_handle());
    }

    pub(super) fn pre_stop(&mut self, index: usize) {
        let sender = self.sender.clone();
        let done = move || {
            let _ = sender.send(Message::Event(Event::PreStop(index)));
        };
        let Some((container, target)) = self.target(index) else { return done() };
        let Some(handler) = container.lifecycle.and_then(|l| l.pre_stop) else { return done() };
        let (recorder, pod, patience) = (self.recorder.clone(), self.pod.clone(), self.patience());
        let task = tokio::spawn(async move {
            if let Err(error) = probe::hook(&target, &handler, patience).await {
                recorder.post(&pod, Some(&container.name), "FailedPreStopHook", &error);
            }
            done();
        });
        // It ends with the container: when that is killed for want of time, or has gone by itself.
        if let Some(slot) = self.slots.get_mut(index) {
            slot.tasks.push(task.abort_handle());
        }
    }

    /// How long a hook may wait for an answer: as long as the pod has to end.
    fn patience(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.plan.grace).unwrap_or(0).max(1))
    }
}

struct Start {
    sources: start::PodSources,
    live: std::sync::Arc<crate::pod::live::LivePod>,
    pod: k8s_openapi::api::core::v1::Pod,
    recorder: crate::pod::events::Recorder,
    sender: super::Sender,
    failures: u32,
    container: Container,
    index: usize,
    run: u32,
}

impl Start {
    async fn run(self) {
        let started = start::start(&self.sources, &self.live, &self.pod, &self.container, self.run).await;
        match started {
            Ok(live) => self.started(live).await,
            Err(Failure::Waiting(reason, message)) => {
                self.event("Failed", &message);
                // As kubelets do: first the error itself, then that it is being waited upon.
                let again = reason == "ErrImagePull" && self.failures > 0;
                let reason = if again { "ImagePullBackOff" } else { reason };
                self.tell(Event::NotStarted(self.index, reason.into(), message));
            }
            Err(Failure::Start(message)) => {
                self.event(
                    "Failed",
                    &format!("Error: failed to start container \"{}\": {message}", self.container.name),
                );
                let special = ("StartError".to_owned(), message);
                self.tell(Event::Exited(self.index, 128, Some(special)));
            }
        }
    }

    async fn started(&self, live: LiveContainer) {
        let name = &self.container.name;
        let image = self.container.image.as_deref().unwrap_or_default();
        self.event("Pulled", &format!("Container image \"{image}\" already present on machine"));
        self.event("Created", &format!("Created container: {name}"));
        self.event("Started", &format!("Started container {name}"));
        self.tell(Event::Started(
            self.index,
            format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
        ));
        let code = live.running.wait().await;
        let pod_dir = self.sources.node.run_dir.join("pods").join(&self.live.uid);
        let _ = std::fs::remove_dir(pod_dir.join("roots").join(format!("{name}-{}", self.run)));
        let file = last_words::place(&pod_dir, name, self.run);
        let message = last_words::take(&file, &self.container, code, &live.log).await;
        let _ = self.sender.send(Message::Ended(self.index, self.run, code, message));
    }

    fn event(&self, reason: &str, message: &str) {
        self.recorder.post(&self.pod, Some(&self.container.name), reason, message);
    }

    fn tell(&self, event: Event) {
        let _ = self.sender.send(Message::Event(event));
    }
}
