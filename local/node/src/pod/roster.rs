//! Takes pods from the API: binds new ones to this node and gives each a worker.

mod fit;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::events::Recorder;
use super::live::Node;
use super::old_logs;
use super::worker::{self, Message, Sender};
use crate::controllers::reason;

/// The labels of the one node, which a pod's `nodeSelector` must fit.
pub type Labels = BTreeMap<String, String>;

/// Runs until the task is dropped.
pub async fn run(node: Arc<Node>, labels: Labels) {
    let scheduler = Recorder::new(node.client.clone(), "default-scheduler", &node.name);
    let kubelet = Recorder::new(node.client.clone(), "kubelet", &node.name);
    let (again, mut due) = mpsc::unbounded_channel();
    let mut roster = Roster {
        node,
        labels,
        taints: Vec::new(),
        scheduler,
        kubelet,
        workers: HashMap::new(),
        listed: HashSet::new(),
        waiting: HashMap::new(),
        again,
    };
    let (mut claims, mut volumes) = (roster.node.claims.changes(), roster.node.volumes.changes());
    let client = &roster.node.client;
    let config = watcher::Config::default();
    let own = config.clone().fields(&format!("metadata.name={}", roster.node.name));
    let mut nodes = watcher(Api::<NodeObject>::all(client.clone()), own).default_backoff().boxed();
    let mut pods = watcher(Api::<Pod>::all(client.clone()), config).default_backoff().boxed();
    loop {
        tokio::select! {
            Some(event) = pods.next() => match event {
                Ok(event) => roster.event(event),
                Err(error) => tracing::debug!(%error, "the watch of pods was interrupted"),
            },
            Some(event) = nodes.next() => match event {
                Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => roster.node_changed(&node),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the watch of the node was interrupted"),
            },
            Some(uid) = due.recv() => roster.look_again(&uid),
            Ok(()) = claims.changed() => roster.look_at_all(),
            Ok(()) = volumes.changed() => roster.look_at_all(),
            else => return,
        }
    }
}

struct Roster {
    node: Arc<Node>,
    labels: Labels,
    taints: Vec<Taint>,
    scheduler: Recorder,
    kubelet: Recorder,
    workers: HashMap<String, Sender>,
    listed: HashSet<String>,
    /// Pods that are not bound yet, by uid.
    waiting: HashMap<String, Waiting>,
    /// Takes the uids of those to look at again.
    again: mpsc::UnboundedSender<String>,
}

/// A pod that is to be bound.
struct Waiting {
    pod: Pod,
    since: Instant,
    /// What was said about it last.
    said: String,
}

/// How long a claim may take to be bound before that is worth a word.
const CLAIMS: Duration = Duration::from_secs(1);
/// When a binding that has failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Roster {
    fn event(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.pod(pod);
            }
            watcher::Event::InitDone => {
                let gone: Vec<String> =
                    self.workers.keys().filter(|uid| !self.listed.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.gone(uid));
                old_logs::prune(&self.node.log_dir, &self.listed);
            }
            watcher::Event::Apply(pod) => self.pod(pod),
            watcher::Event::Delete(pod) => self.gone(pod.metadata.uid.as_deref().unwrap_or_default()),
        }
    }

    /// A node that was cordoned or tainted takes no more pods; one that is free again takes those that wait.
    fn node_changed(&mut self, node: &NodeObject) {
        let taints = fit::taints(node);
        if taints == self.taints {
            return;
        }
        self.taints = taints;
        self.look_at_all();
    }

    fn look_at_all(&mut self) {
        let pods: Vec<Pod> = self.waiting.values().map(|waiting| waiting.pod.clone()).collect();
        pods.iter().for_each(|pod| self.schedule(pod));
    }

    fn look_again(&mut self, uid: &str) {
        if let Some(pod) = self.waiting.get(uid).map(|waiting| waiting.pod.clone()) {
            self.schedule(&pod);
        }
    }

    fn gone(&mut self, uid: &str) {
        self.waiting.remove(uid);
        if let Some(worker) = self.workers.remove(uid) {
            // A worker that has finished is no longer there to hear it.
            let _ = worker.send(Message::Gone);
        }
    }

    fn pod(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let bound = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).filter(|n| !n.is_empty());
        match bound {
            None => self.schedule(&pod),
            Some(name) if name != self.node.name => _ = self.waiting.remove(&uid),
            Some(_) => match self.workers.get(&uid) {
                Some(worker) => {
                    let _ = worker.send(Message::Pod(Box::new(pod)));
                }
                None => {
                    self.waiting.remove(&uid);
                    let worker = worker::spawn(self.node.clone(), self.kubelet.clone(), pod);
                    self.workers.insert(uid, worker);
                }
            },
        }
    }

    /// The pod's own status says what it waits for; that goes with its being bound.
    fn say_unschedulable(&self, pod: &Pod, message: &str) {
        let (namespace, name) =
            (pod.metadata.namespace.clone(), pod.metadata.name.clone().unwrap_or_default());
        let api: Api<Pod> = Api::namespaced(self.node.client.clone(), &namespace.unwrap_or_default());
        let now = k8s_openapi::jiff::Timestamp::now();
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": now});
        let patch = json!({"status": {"conditions": [condition]}});
        tokio::spawn(async move {
            // A pod that went in the meantime needs no status.
            let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        });
    }

    /// Binds a pod if the node and its claims are ready for it.
    fn schedule(&mut self, pod: &Pod) {
        let meta = &pod.metadata;
        let (Some(namespace), Some(name)) = (meta.namespace.clone(), meta.name.clone()) else { return };
        if meta.deletion_timestamp.is_some() {
            let api: Api<Pod> = Api::namespaced(self.node.client.clone(), &namespace);
            tokio::spawn(async move {
                api.delete(&name, &kube::api::DeleteParams::default().grace_period(0)).await
            });
            return;
        }
        let misfit = fit::misfit(pod, &self.labels, &self.taints);
        let (reason, patience) = match misfit {
            Some(reason) => (Some(reason), Duration::ZERO),
            None => (self.node.unclaimed(pod), CLAIMS),
        };
        match reason {
            Some(reason) => self.wait(pod, &format!("0/1 nodes are available: {reason}."), patience),
            None => self.bind(pod),
        }
    }

    fn note(&mut self, pod: &Pod) -> &mut Waiting {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let begin = || Waiting { pod: pod.clone(), since: Instant::now(), said: String::new() };
        let waiting = self.waiting.entry(uid).or_insert_with(begin);
        waiting.pod = pod.clone();
        waiting
    }

    /// Says why a pod waits, once that has lasted for a while.
    fn wait(&mut self, pod: &Pod, text: &str, patience: Duration) {
        let waiting = self.note(pod);
        let left = patience.saturating_sub(waiting.since.elapsed());
        if !left.is_zero() {
            return later(self.again.clone(), pod, left);
        }
        if waiting.said != text {
            text.clone_into(&mut waiting.said);
            self.scheduler.post(pod, None, "FailedScheduling", text);
            self.say_unschedulable(pod, text);
        }
    }

    /// Binds a pod to the only node there is, and tries again when that fails.
    fn bind(&mut self, pod: &Pod) {
        self.note(pod);
        let meta = &pod.metadata;
        let (namespace, name) =
            (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let api: Api<Pod> = Api::namespaced(self.node.client.clone(), &namespace);
        let (node, scheduler, again) = (self.node.name.clone(), self.scheduler.clone(), self.again.clone());
        let pod = pod.clone();
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": node},
            "metadata": {"name": name, "namespace": namespace, "uid": meta.uid}});
        tokio::spawn(async move {
            let bound: Result<Value, kube::Error> =
                api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
            match bound {
                Ok(_) => {
                    let text = format!("Successfully assigned {namespace}/{name} to {node}");
                    scheduler.post(&pod, None, "Scheduled", &text);
                }
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                // Somebody else was faster, or wrote in between.
                Err(kube::Error::Api(answer)) if answer.code == 409 => later(again, &pod, RETRY),
                Err(error) => {
                    let text = format!("binding rejected: {}", reason(&error));
                    scheduler.post(&pod, None, "FailedScheduling", &text);
                    later(again, &pod, RETRY);
                }
            }
        });
    }
}

/// Has a waiting pod looked at again after some time.
fn later(again: mpsc::UnboundedSender<String>, pod: &Pod, delay: Duration) {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        // At the end of the node nobody listens.
        let _ = again.send(uid);
    });
}
