//! What the API gets to know of a pod, and its end.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::Worker;
use crate::pod::state::{Event, Phase};
use crate::pod::status;

impl Worker {
    pub(super) async fn publish(&mut self) {
        // A pod that has ended keeps its status but no longer its network.
        if self.state.ending.is_some()
            && !self.state.containers.iter().any(|c| c.running() || c.phase == Phase::Starting)
        {
            self.release_network();
        }
        let status = status::status(&self.pod, &self.plan, &self.state, &self.place, Timestamp::now());
        if self.published.as_ref() == Some(&status) {
            return;
        }
        let api: Api<Pod> = Api::namespaced(self.node.client.clone(), &self.live.namespace);
        let patch = Patch::Merge(json!({"status": status}));
        match api.patch_status(&self.live.name, &PatchParams::default(), &patch).await {
            Ok(_) => {
                self.pod.status = Some(status.clone());
                self.published = Some(status);
            }
            Err(kube::Error::Api(answer)) if answer.code == 404 => self.decide(Event::Deleted(0)),
            Err(error) => tracing::warn!(%error, pod = %self.live.name, "a pod's status was not written"),
        }
    }

    fn release_network(&mut self) {
        if let Some(network) = self.live.network.lock().take() {
            self.node.ipam.release(network.address());
        }
    }

    /// Takes everything down and tells the API that the pod is no more.
    pub(super) async fn finish(mut self) {
        if let Some(task) = self.sandbox.take() {
            task.abort();
        }
        for slot in &mut self.slots {
            slot.abort();
        }
        self.release_network();
        self.node.pods.lock().remove(&self.live.uid);
        let _ = std::fs::remove_dir_all(self.node.run_dir.join("pods").join(&self.live.uid));
        let _ = std::fs::remove_dir_all(self.node.logs_of(&self.live));
        let api: Api<Pod> = Api::namespaced(self.node.client.clone(), &self.live.namespace);
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(self.live.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        for _ in 0..5 {
            match api.delete(&self.live.name, &parameters).await {
                Ok(_) => return,
                Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => return,
                Err(error) => {
                    tracing::warn!(%error, pod = %self.live.name, "a pod's end was not recorded");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}
