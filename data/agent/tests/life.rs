//! The agent between a control plane (TLS, token, CSR, ADS) and a proxy that is only its two clients: secrets and
//! configuration arrive, survive a restart of the control plane, and the ports answer.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use http::Request as HttpRequest;
use meltemi_agent::data_plane::{DataPlane, StartOptions, Starter};
use meltemi_agent::http_client::{Target, send};
use meltemi_agent::net::Dial;
use meltemi_agent::settings::Settings;
use meltemi_identity::chain;
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3::data_source::Specifier;
use meltemi_proto::envoy::config::core::v3::{Extension, Node};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::Secret;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use meltemi_proto::type_url;
use meltemi_xds::Subscription;
use meltemi_xds::client::{self, Applied, Apply, ClientOptions, Connection, Connector, Service, Update};
use prost::Message as _;
use tokio::net::{UdpSocket, UnixStream};
use tokio::sync::watch;

use support::{ID, Istiod, named};

const WANTED: [&str; 2] = [type_url::CLUSTER, type_url::LISTENER];

/// A proxy that only takes things in.
struct Proxy {
    sockets: (PathBuf, PathBuf),
    delta: bool,
    seen: watch::Sender<BTreeMap<String, Bytes>>,
    started: Mutex<Option<Bootstrap>>,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    calls: Mutex<Vec<&'static str>>,
}

struct Unix(PathBuf);

#[tonic::async_trait]
impl Connector for Unix {
    async fn connect(&mut self) -> Result<Connection, Box<dyn Error + Send + Sync>> {
        Ok(Connection::new(UnixStream::connect(&self.0).await?, "localhost"))
    }
}

struct Sink(watch::Sender<BTreeMap<String, Bytes>>);

impl Apply for Sink {
    fn apply(&mut self, update: Update) -> Applied {
        self.0.send_modify(|seen| {
            seen.extend(
                update.upserts.into_iter().map(|resource| (resource.name.to_string(), resource.body)),
            );
            update.removed.iter().for_each(|name| drop(seen.remove(name.as_ref())));
        });
        Applied::ok()
    }
}

#[tonic::async_trait]
impl Starter for Proxy {
    fn extensions(&self) -> Vec<Extension> {
        vec![Extension { name: "istio.stats".into(), ..Default::default() }]
    }

    async fn start(
        &self,
        bootstrap: Bootstrap,
        _: StartOptions,
    ) -> Result<Arc<dyn DataPlane>, Box<dyn Error + Send + Sync>> {
        let node: Node = bootstrap.node.clone().unwrap();
        let ads = ClientOptions::new(
            node.clone(),
            self.delta,
            WANTED.map(|url| (url, Subscription::Wildcard)).into(),
        );
        let mut sds = ClientOptions::new(
            node,
            self.delta,
            vec![(type_url::SECRET, Subscription::names(["default", "ROOTCA"]))],
        );
        sds.service = Service::Sds;
        for (options, socket) in [(ads, &self.sockets.0), (sds, &self.sockets.1)] {
            let sink = Sink(self.seen.clone());
            tokio::spawn(client::run(options, Unix(socket.clone()), sink, Default::default()));
        }
        *self.started.lock().unwrap() = Some(bootstrap);
        Ok(self.running.clone())
    }
}

#[tonic::async_trait]
impl DataPlane for Running {
    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    async fn drain(&self) {
        self.calls.lock().unwrap().push("drain");
    }
    async fn active_connections(&self) -> Option<u64> {
        None
    }
    async fn shutdown(&self) {
        self.calls.lock().unwrap().push("shutdown");
    }
    async fn ended(&self) -> String {
        std::future::pending().await
    }
}

fn certificate(secret: &[u8]) -> String {
    let Some(Type::TlsCertificate(tls)) = Secret::decode(secret).unwrap().r#type else {
        panic!("no certificate")
    };
    let Some(Specifier::InlineBytes(pem)) = tls.certificate_chain.unwrap().specifier else {
        panic!("not inline")
    };
    String::from_utf8(pem).unwrap()
}

/// Waits until the agent knows a name.
async fn resolves(port: u16, name: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", port)).await.unwrap();
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
    loop {
        socket.send(&question.to_vec().unwrap()).await.unwrap();
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).await.unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        if answer.answers.first().is_some_and(|record| record.data.to_string() == "240.240.0.1") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

type Seen = watch::Receiver<BTreeMap<String, Bytes>>;

fn proxy(settings: &Settings, delta: bool) -> (Arc<Proxy>, Seen) {
    let (seen_in, seen) = watch::channel(BTreeMap::new());
    let proxy = Arc::new(Proxy {
        sockets: (settings.paths.xds.clone(), settings.paths.sds.clone()),
        delta,
        seen: seen_in,
        started: Mutex::new(None),
        running: Arc::default(),
    });
    (proxy, seen)
}

async fn healthz(status_port: u16) -> u16 {
    let status = Target { host: "127.0.0.1".into(), port: status_port, tls: false, dial: Dial::default() };
    let request = HttpRequest::get("/healthz/ready").header("host", "x").body(Bytes::new()).unwrap();
    let answer = send(&status, request, Duration::from_secs(10), 1 << 20).await;
    answer.map_or(0, |answer| answer.status.as_u16())
}

/// The control plane goes away, the agent is killed and starts again; then the control plane is back.
async fn restart(delta: bool) {
    let istiod = Istiod::new(vec![named("a"), named("b")]);
    let dir = tempfile::tempdir().unwrap();
    let mut settings = istiod.agent(dir.path()).await;
    let (first, mut seen) = proxy(&settings, delta);
    let agent = tokio::spawn(meltemi_agent::proxy(settings.clone(), first, Shutdown::new()));
    let all = ["a", "b", "l", "default"];
    let whole = |seen: &BTreeMap<String, Bytes>| all.iter().all(|name| seen.contains_key(*name));
    let key = seen.wait_for(whole).await.unwrap()["default"].clone();
    let index = settings.paths.last_good.join("config.json");
    while !index.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    agent.abort();
    assert!(agent.await.unwrap_err().is_cancelled());

    let port = support::free_port().await;
    settings.discovery.port = port;
    settings.authority.port = port;
    settings.status_port = support::free_port().await;
    let status_port = settings.status_port;
    let (second, mut seen) = proxy(&settings, delta);
    let stop = Shutdown::new();
    let agent = tokio::spawn(meltemi_agent::proxy(settings, second, stop.clone()));
    assert_eq!(seen.wait_for(whole).await.unwrap()["default"], key, "the certificate of before");
    while healthz(status_port).await != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    istiod.clusters.send_replace(vec![named("b"), named("c")]);
    istiod.serve(&format!("127.0.0.1:{port}")).await;
    let mut had_listener = true;
    seen.wait_for(|seen| {
        had_listener &= seen.contains_key("l");
        seen.contains_key("c") && !seen.contains_key("a") && seen["default"] != key
    })
    .await
    .unwrap();
    assert!(had_listener, "nothing is taken away in between");
    stop.request();
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_restart_without_the_control_plane_goes_on_incrementally() {
    restart(true).await;
}

#[tokio::test]
async fn a_restart_without_the_control_plane_goes_on_with_the_state_of_the_world() {
    restart(false).await;
}

async fn life(delta: bool) {
    let istiod = Istiod::new(vec![named("a")]);
    let dir = tempfile::tempdir().unwrap();
    let mut settings = istiod.agent(dir.path()).await;
    let status_port = settings.status_port;
    let dns_port = support::free_port().await;
    settings.dns_port = Some(dns_port);
    let (proxy, mut seen) = proxy(&settings, delta);
    let stop = Shutdown::new();
    let agent = tokio::spawn(meltemi_agent::proxy(settings, proxy.clone(), stop.clone()));

    // Secrets and configuration arrive.
    seen.wait_for(|seen| ["a", "default", "ROOTCA"].iter().all(|name| seen.contains_key(*name)))
        .await
        .unwrap();
    let leaf = chain::parse(&certificate(&seen.borrow()["default"])).unwrap();
    assert_eq!(chain::spiffe_id_of(&leaf[0]).unwrap().unwrap().to_string(), ID);
    let node = proxy.started.lock().unwrap().as_ref().unwrap().node.clone().unwrap();
    assert_eq!(node.extensions[0].name, "istio.stats");
    assert_eq!(istiod.count("csr"), 1);
    assert_eq!(istiod.count("stream sidecar~127.0.0.1~reviews-v1-x.default~default.svc.cluster.local"), 1);

    // So do changes, also after the stream broke.
    istiod.clusters.send_replace(vec![named("a"), named("b")]);
    seen.wait_for(|seen| seen.contains_key("b")).await.unwrap();
    istiod.cut.send_modify(|cuts| *cuts += 1);
    istiod.clusters.send_replace(vec![named("b"), named("c")]);
    seen.wait_for(|seen| seen.contains_key("c") && !seen.contains_key("a")).await.unwrap();

    // The agent answers look-ups from the control plane's table, which the proxy never sees.
    resolves(dns_port, "c").await;
    assert!(!seen.borrow().contains_key(""));
    let table = "ack type.googleapis.com/istio.networking.nds.v1.NameTable";
    assert!(istiod.count(table) >= 2, "one a stream");
    istiod.clusters.send_replace(vec![named("c"), named("broken")]);
    seen.wait_for(|seen| seen.contains_key("broken")).await.unwrap();
    while istiod.count(&format!("n{table}")) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    resolves(dns_port, "c").await;

    // The port answers.
    let status = Target { host: "127.0.0.1".into(), port: status_port, tls: false, dial: Dial::default() };
    let ask = |path: &'static str| {
        let request = HttpRequest::get(path).header("host", "x").body(Bytes::new()).unwrap();
        let status = status.clone();
        async move { send(&status, request, Duration::from_secs(10), 1 << 20).await.unwrap() }
    };
    let ready = ask("/healthz/ready").await;
    assert_eq!(ready.status, 200, "{:?}", ready.body);
    let metrics = String::from_utf8(ask("/stats/prometheus").await.body.to_vec()).unwrap();
    for name in [
        "istio_agent_cert_expiry_seconds 3",
        "istio_agent_xds_proxy_responses ",
        "istio_agent_num_outgoing_requests 1",
    ] {
        assert!(metrics.contains(name), "{name} not in\n{metrics}");
    }

    // The preStop hook: clients are told early, nothing ends.
    let hook = HttpRequest::post("/drain").header("host", "x").body(Bytes::new()).unwrap();
    assert_eq!(send(&status, hook, Duration::from_secs(10), 1 << 20).await.unwrap().status, 200);
    while proxy.running.calls.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((ask("/healthz/ready").await.status.as_u16(), agent.is_finished()), (200, false));

    // The end.
    stop.request();
    agent.await.unwrap().unwrap();
    assert_eq!(*proxy.running.calls.lock().unwrap(), ["drain", "drain", "shutdown"]);
}

#[tokio::test]
async fn incremental() {
    life(true).await;
}

#[tokio::test]
async fn state_of_the_world() {
    life(false).await;
}
