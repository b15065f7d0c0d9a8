//! A control plane in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use meltemi_proto::{json, type_url};
use meltemi_xds::server::{Handler, Session, StreamInfo, sds_service, service};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::Status;
use tonic::transport::Server;

type All = BTreeMap<(&'static str, Arc<str>), Resource>;

/// Serves ADS and SDS out of a map.
#[derive(Clone)]
pub struct Control {
    all: watch::Sender<All>,
    nacks: Arc<Mutex<Vec<String>>>,
    acks: Arc<Mutex<usize>>,
}

impl Control {
    pub fn new() -> Self {
        Self { all: watch::Sender::new(All::new()), nacks: Arc::default(), acks: Arc::default() }
    }

    /// Serves ADS over TCP.
    pub async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(service(Arc::new(self.clone())));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Serves SDS over a Unix domain socket.
    pub fn serve_secrets(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let server = Server::builder().add_service(sds_service(Arc::new(self.clone())));
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    }

    /// Adds or replaces a resource, given in YAML.
    pub fn set(&self, type_url: &'static str, yaml: &str) {
        let json: serde_json::Value = yaml_serde::from_str(yaml).unwrap();
        let name = json.get("cluster_name").or(json.get("name")).unwrap().as_str().unwrap().to_owned();
        let message = type_url.rsplit_once('/').unwrap().1;
        let body = Bytes::from(json::json_to_bytes(message, &json).expect("the resource is valid JSON"));
        let version = format!("{:x}", fastrand::u64(..)).into();
        let name: Arc<str> = name.into();
        let resource = Resource { name: name.clone(), version, body, type_url };
        self.all.send_modify(|all| {
            all.insert((type_url, name), resource);
        });
    }

    /// A resource as JSON.
    pub fn text(&self, type_url: &'static str, name: &str) -> String {
        let all = self.all.borrow();
        let any = all[&(type_url, Arc::from(name))].to_any();
        let mut value = json::any_to_json(&any).unwrap();
        let object = value.as_object_mut().unwrap();
        object.shift_remove("@type");
        let name = object.shift_remove("name").unwrap();
        object.shift_insert(0, "name".into(), name);
        value.to_string()
    }

    /// Removes a resource.
    pub fn remove(&self, type_url: &'static str, name: &str) {
        self.all.send_modify(|all| {
            all.remove(&(type_url, Arc::from(name)));
        });
    }

    /// Removes one resource and adds another in the same moment.
    pub fn swap(&self, type_url: &'static str, gone: &str, yaml: &str) {
        let aside = Self::new();
        aside.set(type_url, yaml);
        self.all.send_modify(|all| {
            all.remove(&(type_url, Arc::from(gone)));
            all.append(&mut aside.all.borrow().clone());
        });
    }

    /// Whether something was refused so far.
    pub fn has_nack(&self) -> bool {
        !self.nacks.lock().unwrap().is_empty()
    }

    /// Waits for a refusal and gives its text.
    pub async fn nack(&self) -> String {
        for _ in 0..500 {
            if let Some(nack) = self.nacks.lock().unwrap().pop() {
                return nack;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing was refused");
    }
}

#[tonic::async_trait]
impl Handler for Control {
    type Session = Stream;

    async fn open(&self, _info: StreamInfo) -> Result<Stream, Status> {
        Ok(Stream { control: self.clone(), changes: self.all.subscribe() })
    }
}

pub struct Stream {
    control: Control,
    changes: watch::Receiver<All>,
}

#[tonic::async_trait]
impl Session for Stream {
    fn resources(&mut self, type_url: &str, subscription: &Subscription) -> ResourceSet {
        let all = self.changes.borrow_and_update();
        let wanted = all.iter().filter(|((t, name), _)| *t == type_url && subscription.contains(name));
        Arc::new(wanted.map(|((_, name), resource)| (name.clone(), resource.clone())).collect())
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        self.changes.changed().await.ok()?;
        Some(vec![
            type_url::CLUSTER,
            type_url::ENDPOINT,
            type_url::LISTENER,
            type_url::ROUTE,
            type_url::SECRET,
        ])
    }

    fn acked(&mut self, _type_url: &str, _version: &str, _nonce: &str) {
        *self.control.acks.lock().unwrap() += 1;
    }

    fn nacked(&mut self, _type_url: &str, _nonce: &str, error: &str) {
        self.control.nacks.lock().unwrap().push(error.to_owned());
    }
}

/// A bootstrap that gets everything from `control`, and secrets from a socket.
pub fn bootstrap(control: SocketAddr, delta: bool, secrets: Option<&Path>) -> String {
    let sds = secrets.map(|path| {
        format!(
            ", {{ name: sds-grpc, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: sds-grpc, endpoints: [ \
             {{ lb_endpoints: [ {{ endpoint: {{ address: {{ pipe: {{ path: {} }} }} }} }} ] }} ] }} }}",
            path.display()
        )
    });
    format!(
        "node: {{ id: sidecar~1.1.1.1~a.b~b.svc, cluster: a.b }}\n\
         dynamic_resources:\n  ads_config: {{ api_type: {}, transport_api_version: V3, grpc_services: [ {{ envoy_grpc: {{ cluster_name: xds }} }} ] }}\n  \
         cds_config: {{ ads: {{}}, resource_api_version: V3 }}\n  lds_config: {{ ads: {{}}, resource_api_version: V3 }}\n\
         static_resources:\n  clusters: [ {}{} ]\n",
        if delta { "DELTA_GRPC" } else { "GRPC" },
        crate::harness::cluster("xds", control, ""),
        sds.unwrap_or_default(),
    )
}
