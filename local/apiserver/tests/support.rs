//! A cluster for a test: an API server on a directory of its own, and a client.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use meltemi_apiserver::kubernetes::Kubernetes;
use meltemi_apiserver::{ApiServer, Options};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// Where the programs of Kubernetes are, for a comparison: the same tests on its own API server (`make compare`).
const KUBERNETES: &str = "MELTEMI_KUBERNETES";

/// Whether the clusters have Kubernetes' own API server.
pub fn is_kubernetes() -> bool {
    std::env::var_os(KUBERNETES).is_some()
}

pub struct Cluster {
    server: Server,
    /// The administrator.
    pub client: Client,
    /// Nobody, or whom a header says.
    pub anonymous: Client,
    dir: tempfile::TempDir,
}

enum Server {
    Own(ApiServer),
    Kubernetes(#[allow(dead_code, reason = "its programs end with it")] Box<Kubernetes>),
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        match std::env::var_os(KUBERNETES) {
            None => Self::on(dir).await,
            Some(built) => Self::kubernetes(built.as_ref(), dir).await,
        }
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
        let router = server
            .router()
            .map_request(|request: Request<kube::client::Body>| request.map(axum::body::Body::new));
        Cluster { client, anonymous: Client::new(router, "default"), server: Server::Own(server), dir }
    }

    async fn kubernetes(built: &Path, dir: tempfile::TempDir) -> Self {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let server = Kubernetes::start(built, &Options::new(dir.path()), free).await.unwrap();
        let text = server.kubeconfig(&format!("https://{free}")).unwrap();
        let (file, defaults) = (Kubeconfig::from_yaml(&text).unwrap(), KubeConfigOptions::default());
        let config = kube::Config::from_custom_kubeconfig(file, &defaults).await.unwrap();
        let mut nobody = config.clone();
        nobody.auth_info = kube::config::AuthInfo::default();
        let [client, anonymous] = [config, nobody].map(|config| Client::try_from(config).unwrap());
        // The service account of the first namespace comes a moment later.
        while client
            .clone()
            .request_text(Request::get(DEFAULT_ACCOUNT).body(Vec::new()).unwrap())
            .await
            .is_err()
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Cluster { client, anonymous, server: Server::Kubernetes(Box::new(server)), dir }
    }

    /// Our server; on Kubernetes' own such tests mean nothing.
    pub fn own(&self) -> &ApiServer {
        match &self.server {
            Server::Own(server) => server,
            Server::Kubernetes(_) => panic!("this test is about our own API server"),
        }
    }

    pub async fn restart(self) -> Self {
        self.own().shutdown();
        let Cluster { server, client, anonymous, dir } = self;
        drop((server, client, anonymous));
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

const DEFAULT_ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";

/// Sends a request as it is; what came, whatever it is.
pub async fn send(client: &Client, request: Request<Vec<u8>>) -> (u16, Bytes) {
    let response = client.send(request.map(kube::client::Body::from)).await.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

/// Asks again until it is so.
pub async fn within(patience: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not so after {patience:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

pub fn pod(name: &str, node: Option<&str>) -> Pod {
    let spec = json!({"nodeName": node, "containers": [{"name": "a", "image": "x:1"}]});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}
