//! A cluster for a test: an API server on a directory of its own, and a client.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client};
use meltemi_apiserver::{ApiServer, Options};
use serde_json::json;

pub struct Cluster {
    pub server: ApiServer,
    pub client: Client,
    dir: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(dir: tempfile::TempDir) -> Self {
        // The file's lock goes when the old server's tasks have seen their shutdown.
        let server = loop {
            match ApiServer::open(Options::new(dir.path())).await {
                Ok(server) => break server,
                Err(error) if format!("{error:?}").contains("another cluster") => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        let client = Client::new(server.local_service(), "default");
        Cluster { server, client, dir }
    }

    pub async fn restart(self) -> Self {
        let Cluster { server, client, dir } = self;
        server.shutdown();
        drop((server, client));
        Self::on(dir).await
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::default_namespaced(self.client.clone())
    }
}

pub fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

pub fn pod(name: &str, node: Option<&str>) -> Pod {
    let spec = json!({"nodeName": node, "containers": [{"name": "a", "image": "x:1"}]});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}
