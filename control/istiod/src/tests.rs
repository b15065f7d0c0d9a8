//! istiod from a cluster's objects to what a proxy gets, over real gRPC on the loopback.

mod ads;
mod grpc;
mod isolation;
pub mod proxy;
mod tls;
mod whole;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use kube::runtime::watcher;
use meltemi_config::Kind;
use meltemi_identity::SpiffeId;
use meltemi_identity::authority::Authority;
use meltemi_mesh::World;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::access::ReviewAccess;
use crate::ads::AdsHandler;
use crate::authenticate::Authenticator;
use crate::hub::{Debounce, Handle, Hub, Inputs, News};
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::peer;
use crate::sources::{Event, Outlet, Source};
use crate::token::{ReviewTokens, ServiceAccount, TokenError};

/// Tokens of the form `NAMESPACE/ACCOUNT` are valid.
pub struct PlainTokens;

#[async_trait::async_trait]
impl ReviewTokens for PlainTokens {
    async fn review(&self, token: &str, audiences: &[&str]) -> Result<ServiceAccount, TokenError> {
        match token.split_once('/') {
            Some((namespace, name)) if audiences == ["istio-ca"] => {
                Ok(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(TokenError::Refused("it is not valid for this cluster".to_owned())),
        }
    }
}

/// Accounts called `gateway` may list secrets.
struct OnlyGateways;

#[async_trait::async_trait]
impl ReviewAccess for OnlyGateways {
    async fn may_list_secrets(&self, caller: &SpiffeId) -> Result<bool, String> {
        match caller.service_account.as_str() {
            "nobody-knows" => Err("the API server does not answer".to_owned()),
            account => Ok(account == "gateway"),
        }
    }
}

/// An istiod over objects that the test gives.
pub struct Mesh {
    pub hub: Handle,
    pub plain: SocketAddr,
    pub secure: SocketAddr,
    pub authority: Arc<Authority>,
    pub news: mpsc::UnboundedReceiver<News>,
    outlet: Outlet,
    _stop: tokio_util::sync::DropGuard,
}

impl Mesh {
    /// Starts with these objects.
    pub async fn start(yaml: &str) -> Self {
        let shutdown = CancellationToken::new();
        let metrics: Arc<Metrics> = Arc::default();
        let (events, receiver) = mpsc::unbounded_channel();
        let (news_sender, news) = mpsc::unbounded_channel();
        let (hub, handle) = Hub::new(Inputs {
            world: World::new(meltemi_mesh::Settings::default()),
            events: receiver,
            kinds: BTreeSet::from([Kind::Node]),
            news: vec![news_sender],
            objects: Objects::default(),
            debounce: Debounce::new(Duration::from_millis(5), Duration::from_millis(50)),
            metrics: metrics.clone(),
        });
        tokio::spawn(hub.run(shutdown.clone()));
        let authority = Arc::new(Authority::self_signed("cluster.local", Duration::from_secs(3600)).unwrap());
        let handler = Arc::new(AdsHandler {
            hub: handle.clone(),
            authenticator: Authenticator::new(Arc::new(PlainTokens), "cluster.local"),
            access: Arc::new(OnlyGateways),
            cache: Arc::default(),
            metrics: metrics.clone(),
            max_age: Duration::from_secs(3600),
        });
        let plain = serve(handler.clone(), None, &shutdown).await;
        let secure = serve(handler, Some(tls::server(&authority)), &shutdown).await;
        let outlet = Outlet { events, metrics, shutdown: shutdown.clone() };
        let mesh = Self { hub: handle, plain, secure, authority, news, outlet, _stop: shutdown.drop_guard() };
        mesh.apply(yaml);
        mesh.outlet.send(Event::Synced(Kind::Node));
        mesh
    }

    /// Applies objects, as watches would tell them.
    pub fn apply(&self, yaml: &str) {
        for object in objects(yaml) {
            self.watch(&object, watcher::Event::Apply);
        }
    }

    /// Deletes objects.
    pub fn delete(&self, yaml: &str) {
        for object in objects(yaml) {
            self.watch(&object, watcher::Event::Delete);
        }
    }

    fn watch(&self, object: &Value, event: fn(DynamicObject) -> watcher::Event<DynamicObject>) {
        let kind =
            Kind::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let object = serde_json::from_value(object.clone()).unwrap();
        Source::new(kind, self.outlet.clone()).take(Ok(event(object)));
    }
}

fn objects(yaml: &str) -> Vec<Value> {
    yaml_serde::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap()).collect()
}

async fn serve(
    handler: Arc<AdsHandler>,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: &CancellationToken,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = peer::incoming(listener, tls, shutdown.clone());
    let router = Server::builder().add_service(meltemi_xds::server::service(handler));
    tokio::spawn(router.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned()));
    address
}

/// A service `NAME` in `default` on port 9080 with one endpoint.
pub fn service(name: &str, ip: &str) -> String {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip.replace("10.244", "10.96"), "selector": {"app": name},
            "ports": [{"name": "http", "port": 9080, "targetPort": 9080}]}});
    format!("{service}\n---\n{}", slice(name, &[ip]))
}

/// The endpoints of a service.
pub fn slice(name: &str, ips: &[&str]) -> String {
    let endpoints: Vec<Value> =
        ips.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{name}-1"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 9080, "protocol": "TCP"}], "endpoints": endpoints})
    .to_string()
}

/// A VirtualService for a host, with a route of that name.
pub fn virtual_service(host: &str, spec: Value) -> String {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": host, "namespace": "default"}, "spec": spec})
    .to_string()
}

/// A hanging test fails instead.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened")
}
