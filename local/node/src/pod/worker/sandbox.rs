//! What a pod needs before its containers: network, tokens, volumes; and keeping the volumes up to date.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::PostParams;

use super::{Message, Sender, Worker};
use crate::net::PodNetwork;
use crate::pod::env::Facts;
use crate::pod::events::Recorder;
use crate::pod::live::{LivePod, Node};
use crate::pod::start::PodSources;
use crate::pod::volumes::{self, Token, Tokens};

impl Worker {
    pub(super) fn begin_sandbox(&mut self) {
        let task = Sandbox {
            node: self.node.clone(),
            live: self.live.clone(),
            pod: self.pod.clone(),
            recorder: self.recorder.clone(),
            sender: self.sender.clone(),
        };
        self.sandbox = Some(tokio::spawn(task.make()).abort_handle());
    }

    pub(super) fn sources(&self) -> PodSources {
        sources(&self.node, &self.live, self.place.pod_ip.clone().unwrap_or_default())
    }

    /// Something that volumes or waiting containers may refer to has changed.
    pub(super) fn sources_changed(&mut self) {
        use crate::pod::state::{Event, Phase};
        if !self.state.sandbox {
            return;
        }
        self.update_volumes();
        let waiting = |phase: &Phase| matches!(phase, Phase::Waiting { reason, .. } if reason.starts_with("CreateContainer"));
        let waiting: Vec<usize> = self
            .state
            .containers
            .iter()
            .enumerate()
            .filter(|(_, c)| waiting(&c.phase))
            .map(|(i, _)| i)
            .collect();
        for index in waiting {
            self.decide(Event::Retry(index));
        }
    }

    fn update_volumes(&self) {
        let base = volume_dir(&self.node, &self.live);
        // What has become missing stays as it was, as in Kubernetes.
        if let Err(error) = volumes::materialize(&self.pod, &base, &self.sources(), &self.tokens) {
            tracing::debug!(%error, pod = %self.live.name, "volumes were not updated");
        }
    }

    pub(super) async fn renew_tokens(&mut self) {
        match tokens(&self.node, &self.pod).await {
            Ok(tokens) => {
                self.tokens = tokens;
                self.update_volumes();
            }
            Err(error) => {
                tracing::warn!(%error, pod = %self.live.name, "tokens were not renewed");
                let later = Timestamp::now() + Duration::from_secs(5);
                self.tokens.values_mut().for_each(|t| t.refresh = later);
            }
        }
    }
}

fn volume_dir(node: &Node, live: &LivePod) -> std::path::PathBuf {
    node.run_dir.join("pods").join(&live.uid).join("volumes")
}

fn sources(node: &Arc<Node>, live: &LivePod, pod_ip: String) -> PodSources {
    let (cpus, memory) = node.machine;
    let facts = Facts { pod_ip, host_ip: crate::net::NODE_IP.to_string(), cpus, memory };
    PodSources { node: node.clone(), namespace: live.namespace.clone(), facts }
}

struct Sandbox {
    node: Arc<Node>,
    live: Arc<LivePod>,
    pod: Pod,
    recorder: Recorder,
    sender: Sender,
}

impl Sandbox {
    async fn make(self) {
        let mut said = BTreeSet::new();
        let mut maps = self.node.config_maps.changes();
        let mut secrets = self.node.secrets.changes();
        loop {
            maps.mark_unchanged();
            secrets.mark_unchanged();
            match self.attempt().await {
                Ok((address, tokens)) => {
                    let _ = self.sender.send(Message::Sandbox(address, tokens));
                    return;
                }
                Err((reason, text)) => {
                    if said.insert(text.clone()) {
                        self.recorder.post(&self.pod, None, reason, &text);
                    }
                }
            }
            tokio::select! {
                _ = maps.changed() => {}
                _ = secrets.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    async fn attempt(&self) -> Result<(std::net::Ipv4Addr, Tokens), (&'static str, String)> {
        let network = self.network().await.map_err(|e| ("FailedCreatePodSandBox", e))?;
        let tokens = tokens(&self.node, &self.pod).await.map_err(|e| ("FailedMount", e))?;
        let sources = sources(&self.node, &self.live, network.address().to_string());
        let base = volume_dir(&self.node, &self.live);
        volumes::materialize(&self.pod, &base, &sources, &tokens).map_err(|e| ("FailedMount", e))?;
        Ok((network.address(), tokens))
    }

    async fn network(&self) -> Result<Arc<PodNetwork>, String> {
        if let Some(network) = self.live.network.lock().clone() {
            return Ok(network);
        }
        let address = self.node.ipam.take().ok_or("all pod addresses are in use")?;
        match PodNetwork::create(address).await {
            Ok(network) => {
                let network = Arc::new(network);
                *self.live.network.lock() = Some(network.clone());
                Ok(network)
            }
            Err(error) => {
                self.node.ipam.release(address);
                Err(format!("the pod's network could not be made: {error}"))
            }
        }
    }
}

/// Asks for all tokens of a pod's volumes.
async fn tokens(node: &Node, pod: &Pod) -> Result<Tokens, String> {
    let meta = &pod.metadata;
    let account =
        pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".into());
    let api: Api<ServiceAccount> =
        Api::namespaced(node.client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let mut tokens = Tokens::new();
    for wanted in volumes::wanted_tokens(pod) {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(wanted.audience.clone().into_iter().collect()),
                expiration_seconds: Some(wanted.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: meta.name.clone(),
                    uid: meta.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let issued = api.create_token_request(&account, &PostParams::default(), &request).await;
        let issued = issued.map_err(|e| format!("no token for the service account \"{account}\": {e}"))?;
        let text = issued.status.and_then(|s| s.token).unwrap_or_default();
        let now = Timestamp::now();
        let expiry = volumes::token_expiry(&text).unwrap_or(now + Duration::from_secs(600));
        let life = Duration::try_from(expiry.duration_since(now)).unwrap_or(Duration::from_secs(10));
        tokens.insert(wanted, Token { text, refresh: now + life.mul_f64(0.8).max(Duration::from_secs(1)) });
    }
    Ok(tokens)
}
