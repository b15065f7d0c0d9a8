//! `istio-ca-root-cert`: the root that workloads trust, in every namespace.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;

/// Name of the ConfigMap.
const NAME: &str = "istio-ca-root-cert";
/// Its key.
const KEY: &str = "root-cert.pem";
/// The label by which ours are found.
const LABEL: (&str, &str) = ("istio.io/config", "true");

/// Writes the ConfigMap.
#[derive(Clone)]
pub struct RootConfigMaps {
    client: kube::Client,
    root: Arc<str>,
}

impl RootConfigMaps {
    /// Writes `root_pem` through `client`.
    pub fn new(client: kube::Client, root_pem: &str) -> Self {
        Self { client, root: root_pem.into() }
    }

    /// Makes sure that `namespace` has it. What fails is tried again, unless the namespace is going away.
    pub async fn ensure(&self, namespace: &str) {
        if meltemi_config::namespace::is_system(namespace) {
            return;
        }
        let mut backoff = Backoff::default();
        loop {
            match self.write(namespace).await {
                Ok(true) => return tracing::info!(namespace, "wrote ConfigMap {NAME}"),
                Ok(false) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                    return tracing::debug!(
                        namespace,
                        reason = status.message,
                        "ConfigMap {NAME} not written"
                    );
                }
                Err(error) => tracing::warn!(namespace, %error, "cannot write ConfigMap {NAME}"),
            }
            if !backoff.pause().await {
                return;
            }
        }
    }

    async fn write(&self, namespace: &str) -> Result<bool, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        match maps.get_opt(NAME).await? {
            Some(found) if self.is_current(&found) => return Ok(false),
            Some(_) => {
                let patch = json!({"metadata": {"labels": {LABEL.0: LABEL.1}}, "data": {KEY: &*self.root}});
                maps.patch(NAME, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            }
            None => match maps.create(&PostParams::default(), &self.map(namespace)).await {
                // Another istiod was faster, with the same root.
                Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {}
                result => drop(result?),
            },
        }
        Ok(true)
    }

    fn is_current(&self, found: &ConfigMap) -> bool {
        let root = found.data.as_ref().and_then(|data| data.get(KEY));
        root.map(String::as_str) == Some(&*self.root)
    }

    fn map(&self, namespace: &str) -> ConfigMap {
        let mut map = ConfigMap {
            data: Some(BTreeMap::from([(KEY.to_owned(), self.root.to_string())])),
            ..ConfigMap::default()
        };
        map.metadata.name = Some(NAME.to_owned());
        map.metadata.namespace = Some(namespace.to_owned());
        map.metadata.labels = Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]));
        map
    }

    /// Puts back what somebody deletes or changes, until the end.
    pub async fn guard(self, shutdown: CancellationToken) {
        let maps: Api<ConfigMap> = Api::all(self.client.clone());
        let config = watcher::Config::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let mut events = pin!(watcher(maps, config).default_backoff());
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => event,
            };
            let (map, deleted) = match event {
                Some(Ok(watcher::Event::Apply(map))) => (map, false),
                Some(Ok(watcher::Event::Delete(map))) => (map, true),
                Some(_) => continue,
                None => return,
            };
            let spoilt = deleted || !self.is_current(&map);
            if map.metadata.name.as_deref() == Some(NAME) && spoilt {
                self.ensure(map.metadata.namespace.as_deref().unwrap_or_default()).await;
            }
        }
    }
}
