//! The worker of one pod: carries out what the state machine decides, and tells it what happens.

mod leave;
mod publish;
mod sandbox;
mod tasks;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::events::Recorder;
use super::live::{LivePod, Node};
use super::plan::{Plan, containers};
use super::state::{Action, Event, Phase, ProbeKind, State, decide};
use super::status::Place;
use super::volumes::Tokens;
use crate::net::NODE_IP;

/// What a worker is told.
#[derive(Debug)]
pub enum Message {
    /// The API has a newer version of the pod.
    Pod(Box<Pod>),
    /// The API no longer has the pod.
    Gone,
    /// Something happened.
    Event(Event),
    /// The sandbox is there: the pod's address and the tokens in its volumes.
    Sandbox(Ipv4Addr, Tokens),
    /// A probe reports: container, its run, the changed verdict, the failure's text.
    Probe(usize, u32, ProbeKind, Option<bool>, Option<String>),
    /// A run of a container has ended: with which code, and what it said last.
    Ended(usize, u32, i32, String),
}

/// Sends to a worker.
pub type Sender = mpsc::UnboundedSender<Message>;

/// One container's run as the worker sees it.
#[derive(Default)]
struct Slot {
    run: u32,
    tasks: Vec<AbortHandle>,
}

impl Slot {
    fn abort(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

struct Worker {
    node: Arc<Node>,
    recorder: Recorder,
    pod: Pod,
    plan: Plan,
    state: State,
    live: Arc<LivePod>,
    slots: Vec<Slot>,
    place: Place,
    published: Option<PodStatus>,
    tokens: Tokens,
    deleting: Option<i64>,
    sender: Sender,
    sandbox: Option<AbortHandle>,
    done: bool,
}

/// Starts the worker of a pod that is bound to this node.
pub fn spawn(node: Arc<Node>, recorder: Recorder, pod: Pod) -> Sender {
    let (sender, receiver) = mpsc::unbounded_channel();
    let plan = Plan::of(&pod);
    let meta = &pod.metadata;
    let live = Arc::new(LivePod {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        network: Default::default(),
        containers: Default::default(),
    });
    if !retired(&pod) {
        // It starts anew, and so do its logs.
        let _ = std::fs::remove_dir_all(node.logs_of(&live));
    }
    node.pods.lock().insert(live.uid.clone(), live.clone());
    let worker = Worker {
        state: State::new(&plan),
        slots: plan.containers.iter().map(|_| Slot::default()).collect(),
        place: Place { pod_ip: None, host_ip: NODE_IP.to_string(), since: Some(Timestamp::now()) },
        published: None,
        tokens: Tokens::new(),
        deleting: None,
        sender: sender.clone(),
        sandbox: None,
        done: false,
        node,
        recorder,
        pod,
        plan,
        live,
    };
    tokio::spawn(worker.run(receiver));
    sender
}

/// Whether the pod had already ended when this node first saw it.
fn retired(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed")
}

impl Worker {
    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Message>) {
        if retired(&self.pod) {
            return self.wait_for_deletion(receiver).await;
        }
        self.begin_sandbox();
        let pod = Box::new(self.pod.clone());
        self.handle(Message::Pod(pod));
        let mut maps = self.node.config_maps.changes();
        let mut secrets = self.node.secrets.changes();
        let stop = self.node.stop.clone();
        while !self.done {
            self.publish().await;
            let tick = sleep_until(self.state.next_tick());
            let refresh = sleep_until(self.tokens.values().map(|t| t.refresh).min());
            tokio::select! {
                message = receiver.recv() => match message {
                    Some(message) => self.handle(message),
                    None => break,
                },
                () = tick => self.decide(Event::Tick),
                () = refresh => self.renew_tokens().await,
                () = stop.cancelled() => return,
                _ = maps.changed() => self.sources_changed(),
                _ = secrets.changed() => self.sources_changed(),
            }
            while let Ok(message) = receiver.try_recv() {
                self.handle(message);
            }
        }
        self.finish().await;
    }

    async fn wait_for_deletion(mut self, mut receiver: mpsc::UnboundedReceiver<Message>) {
        let mut deleted = self.pod.metadata.deletion_timestamp.is_some();
        while !deleted {
            deleted = match receiver.recv().await {
                Some(Message::Pod(pod)) => pod.metadata.deletion_timestamp.is_some(),
                Some(Message::Gone) | None => true,
                Some(_) => false,
            };
        }
        self.done = true;
        self.finish().await;
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Pod(pod) => {
                let status = self.published.clone().or(pod.status.clone());
                self.pod = Pod { status, ..*pod };
                if self.pod.metadata.deletion_timestamp.is_some() {
                    self.deleted(self.pod.metadata.deletion_grace_period_seconds.unwrap_or(self.plan.grace));
                }
                self.sources_changed();
            }
            Message::Gone => self.decide(Event::Deleted(0)),
            Message::Event(event) => self.decide(event),
            Message::Sandbox(address, tokens) => {
                self.place.pod_ip = Some(address.to_string());
                self.tokens = tokens;
                self.decide(Event::SandboxReady);
            }
            Message::Probe(index, run, kind, verdict, failure) => {
                self.probed(index, run, kind, verdict, failure)
            }
            Message::Ended(index, run, code, said) => {
                if let Some(slot) = self.slots.get_mut(index).filter(|s| s.run == run) {
                    slot.abort();
                    let reason = if code == 0 { "Completed" } else { "Error" };
                    let special = Some((reason.to_owned(), said)).filter(|(_, said)| !said.is_empty());
                    self.decide(Event::Exited(index, code, special));
                }
            }
        }
    }

    /// A deletion, or a later one with less grace: services are to forget the pod before it hears of it.
    fn deleted(&mut self, grace: i64) {
        if self.deleting.is_some_and(|now| now <= grace) {
            return;
        }
        self.deleting = Some(grace);
        let address: Option<Ipv4Addr> = self.place.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
        let ready = self.state.containers.iter().any(|c| c.ready);
        let (mut serving, sender) = (self.node.serving.clone(), self.sender.clone());
        tokio::spawn(async move {
            if let Some(address) = address.filter(|_| ready && grace > 0) {
                leave::forgotten(&mut serving, address).await;
            }
            let _ = sender.send(Message::Event(Event::Deleted(grace)));
        });
    }

    fn decide(&mut self, event: Event) {
        let actions = decide(&self.plan, &mut self.state, event, Timestamp::now());
        for action in actions {
            self.act(action);
        }
    }

    fn container(&self, index: usize) -> Option<Container> {
        self.pod.spec.as_ref().and_then(|spec| containers(spec).nth(index)).cloned()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(index) => self.start(index),
            Action::Probe(index, kind) => self.probe(index, kind),
            Action::PostStart(index) => self.post_start(index),
            Action::PreStop(index) => self.pre_stop(index),
            Action::Terminate(index) => self.signal(index, Signal::SIGTERM),
            Action::Kill(index) => self.signal(index, Signal::SIGKILL),
            Action::BackOff(index) => {
                if let Some(Phase::Waiting { message, .. }) =
                    self.state.containers.get(index).map(|c| &c.phase)
                {
                    let message = message.clone();
                    self.event(index, "BackOff", &message);
                }
            }
            Action::Finish => self.done = true,
        }
    }

    fn event(&self, index: usize, reason: &str, message: &str) {
        let name = self.plan.containers.get(index).map(|c| c.name.as_str());
        self.recorder.post(&self.pod, name, reason, message);
    }

    fn signal(&mut self, index: usize, signal: Signal) {
        let Some(name) = self.plan.containers.get(index).map(|c| c.name.clone()) else { return };
        if signal == Signal::SIGTERM {
            self.event(index, "Killing", &format!("Stopping container {name}"));
        }
        if let Some(container) = self.live.containers.lock().get(&name) {
            container.running.signal(signal);
        }
        // A container that is told to stop is not looked at any more: nothing would come of it.
        if let Some(slot) = self.slots.get_mut(index) {
            slot.abort();
        }
    }
}

async fn sleep_until(moment: Option<Timestamp>) {
    match moment {
        Some(moment) => {
            let left = moment.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
        }
        None => std::future::pending().await,
    }
}
