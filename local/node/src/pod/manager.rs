//! Takes pods from the API: binds new ones to this node and gives each a worker.

mod fit;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

use super::events::Recorder;
use super::live::Node;
use super::worker::{self, Message, Sender};

/// The labels of the one node, which a pod's `nodeSelector` must fit.
pub type Labels = BTreeMap<String, String>;

/// Runs until the task is dropped.
pub async fn run(node: Arc<Node>, labels: Labels) {
    let scheduler = Recorder::new(node.client.clone(), "default-scheduler", &node.name);
    let kubelet = Recorder::new(node.client.clone(), "kubelet", &node.name);
    let mut manager = Manager {
        node,
        labels,
        taints: Vec::new(),
        scheduler,
        kubelet,
        workers: HashMap::new(),
        listed: HashSet::new(),
        waiting: HashMap::new(),
    };
    let client = &manager.node.client;
    let config = watcher::Config::default();
    let own = config.clone().fields(&format!("metadata.name={}", manager.node.name));
    let mut nodes = watcher(Api::<NodeObject>::all(client.clone()), own).default_backoff().boxed();
    let mut pods = watcher(Api::<Pod>::all(client.clone()), config).default_backoff().boxed();
    loop {
        tokio::select! {
            Some(event) = pods.next() => match event {
                Ok(event) => manager.event(event),
                Err(error) => tracing::debug!(%error, "the watch of pods was interrupted"),
            },
            Some(event) = nodes.next() => match event {
                Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => manager.node_changed(&node),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the watch of the node was interrupted"),
            },
            else => return,
        }
    }
}

struct Manager {
    node: Arc<Node>,
    labels: Labels,
    taints: Vec<Taint>,
    scheduler: Recorder,
    kubelet: Recorder,
    workers: HashMap<String, Sender>,
    listed: HashSet<String>,
    /// Pods that the node does not fit at present, by uid.
    waiting: HashMap<String, Pod>,
}

impl Manager {
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
        for pod in std::mem::take(&mut self.waiting).into_values() {
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
            Some(name) if name != self.node.name => {}
            Some(_) => match self.workers.get(&uid) {
                Some(worker) => {
                    let _ = worker.send(Message::Pod(Box::new(pod)));
                }
                None => {
                    let worker = worker::spawn(self.node.clone(), self.kubelet.clone(), pod);
                    self.workers.insert(uid, worker);
                }
            },
        }
    }

    /// The pod's own status says what it waits for; that goes with its being bound.
    fn say_unschedulable(&self, namespace: &str, name: &str, message: String) {
        let api: Api<Pod> = Api::namespaced(self.node.client.clone(), namespace);
        let now = k8s_openapi::jiff::Timestamp::now();
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": now});
        let patch = json!({"status": {"conditions": [condition]}});
        let name = name.to_owned();
        tokio::spawn(async move {
            // A pod that went in the meantime needs no status.
            let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        });
    }

    /// Binds a pod to the only node there is, if the pod does not exclude it.
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
        if let Some(reason) = fit::misfit(pod, &self.labels, &self.taints) {
            let known = self.waiting.insert(pod.metadata.uid.clone().unwrap_or_default(), pod.clone());
            if known.is_none() {
                let text = format!("0/1 nodes are available: {reason}.");
                self.scheduler.post(pod, None, "FailedScheduling", &text);
                self.say_unschedulable(&namespace, &name, text);
            }
            return;
        }
        let api: Api<Pod> = Api::namespaced(self.node.client.clone(), &namespace);
        let (node, scheduler, pod) = (self.node.name.clone(), self.scheduler.clone(), pod.clone());
        tokio::spawn(async move {
            let patch =
                Patch::Merge(json!({"metadata": {"uid": pod.metadata.uid}, "spec": {"nodeName": node}}));
            match api.patch(&name, &PatchParams::default(), &patch).await {
                Ok(_) => {
                    let text = format!("Successfully assigned {namespace}/{name} to {node}");
                    scheduler.post(&pod, None, "Scheduled", &text);
                }
                Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => {}
                Err(error) => tracing::warn!(%error, %name, "a pod was not bound"),
            }
        });
    }
}
