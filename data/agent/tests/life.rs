//! The agent between a control plane (TLS, token, CSR, ADS) and a proxy that is only its two clients: secrets and
//! configuration arrive, survive a restart of the control plane, and the ports answer.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request as HttpRequest;
use meltemi_agent::cli::ProxyArgs;
use meltemi_agent::data_plane::{DataPlane, StartOptions, Starter};
use meltemi_agent::environment::Environment;
use meltemi_agent::http_client::{Target, send};
use meltemi_agent::net::Dial;
use meltemi_agent::settings::{Paths, Settings};
use meltemi_identity::authority::Authority;
use meltemi_identity::{chain, serving, tls};
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::core::v3::data_source::Specifier;
use meltemi_proto::envoy::config::core::v3::{Extension, Node};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::Secret;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use meltemi_proto::istio::auth::v1::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use meltemi_proto::istio::auth::v1::{IstioCertificateRequest, IstioCertificateResponse};
use meltemi_proto::type_url;
use meltemi_xds::client::{self, Applied, Apply, ClientOptions, Connection, Connector, Service, Update};
use meltemi_xds::server::{self, Handler, Session, StreamInfo};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use prost::Message;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status};

const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: &str = "Bearer token-of-reviews";
const ID: &str = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";

/// A control plane of one cluster per name.
#[derive(Clone)]
struct Istiod {
    authority: Arc<Authority>,
    names: watch::Sender<Vec<String>>,
    /// Ends all streams.
    cut: watch::Sender<u32>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Istiod {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn count(&self, line: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|logged| logged.starts_with(line)).count()
    }

    /// Serves TLS on a port of the loopback.
    async fn serve(&self, address: &str) -> u16 {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = serving::issue(&self.authority, &["localhost"], HOUR).unwrap();
        let credential = tls::Credential::from_pem(&own.chain_pem, &own.key_pem).unwrap();
        let config = tls::server_config(Arc::new(credential), None, &[b"h2"]).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (pipes, incoming) = mpsc::unbounded_channel::<std::io::Result<DuplexStream>>();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, pipes) = (acceptor.clone(), pipes.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await.unwrap();
                    let (mut near, far) = tokio::io::duplex(64 << 10);
                    pipes.send(Ok(far)).unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut near).await;
                });
            }
        });
        let routes = tonic::transport::Server::builder()
            .add_service(IstioCertificateServiceServer::new(self.clone()))
            .add_service(server::service(Arc::new(self.clone())));
        tokio::spawn(routes.serve_with_incoming(UnboundedReceiverStream::new(incoming)));
        port
    }
}

fn check_token(metadata: &tonic::metadata::MetadataMap) -> Result<(), Status> {
    match metadata.get("authorization").and_then(|value| value.to_str().ok()) {
        Some(TOKEN) => Ok(()),
        other => Err(Status::unauthenticated(format!("{other:?}"))),
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Istiod {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        check_token(request.metadata())?;
        self.note("csr".into());
        let leaf = self.authority.sign(&request.get_ref().csr, &ID.parse().unwrap(), HOUR).unwrap();
        Ok(Response::new(IstioCertificateResponse { cert_chain: vec![leaf, self.authority.root_pem()] }))
    }
}

struct Stream {
    names: watch::Receiver<Vec<String>>,
    cut: watch::Receiver<u32>,
}

#[tonic::async_trait]
impl Handler for Istiod {
    type Session = Stream;

    async fn open(&self, info: StreamInfo) -> Result<Stream, Status> {
        check_token(&info.peer.metadata)?;
        self.note(format!("stream {}", info.node.id));
        Ok(Stream { names: self.names.subscribe(), cut: self.cut.subscribe() })
    }
}

#[tonic::async_trait]
impl Session for Stream {
    fn resources(&mut self, _: &str, _: &Subscription) -> ResourceSet {
        let resource = |name: &String| {
            let body = Bytes::from(Cluster { name: name.clone(), ..Default::default() }.encode_to_vec());
            let name: Arc<str> = Arc::from(name.as_str());
            (name.clone(), Resource { name, version: "1".into(), body, type_url: type_url::CLUSTER })
        };
        Arc::new(self.names.borrow_and_update().iter().map(resource).collect())
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        tokio::select! {
            changed = self.names.changed() => changed.ok()?,
            _ = self.cut.changed() => return None,
        }
        Some(vec![type_url::CLUSTER])
    }

    fn acked(&mut self, _: &str, _: &str, _: &str) {}
    fn nacked(&mut self, _: &str, _: &str, _: &str) {}
}

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
        let ads =
            ClientOptions::new(node.clone(), self.delta, vec![(type_url::CLUSTER, Subscription::Wildcard)]);
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

fn settings(dir: &std::path::Path, port: u16, status_port: u16) -> Settings {
    let vars = [
        ("POD_NAME", "reviews-v1-x".to_owned()),
        ("POD_NAMESPACE", "default".to_owned()),
        ("INSTANCE_IP", "127.0.0.1".to_owned()),
        ("SERVICE_ACCOUNT", "bookinfo-reviews".to_owned()),
        ("CA_ADDR", format!("localhost:{port}")),
        (
            "PROXY_CONFIG",
            format!(
                "{{discoveryAddress: 'localhost:{port}', statusPort: {status_port}, terminationDrainDuration: 0s}}"
            ),
        ),
    ];
    let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let env = Environment { vars, ..Environment::default() };
    let mut settings = Settings::new(&ProxyArgs::default(), &env).unwrap();
    settings.paths = Paths {
        root_cert: dir.join("root.pem"),
        token: dir.join("token"),
        sds: dir.join("run/sds"),
        xds: dir.join("run/XDS"),
        config_dir: dir.join("run"),
    };
    settings
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

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn life(delta: bool) {
    let istiod = Istiod {
        authority: Arc::new(Authority::self_signed("cluster.local", 99 * HOUR).unwrap()),
        names: watch::Sender::new(vec!["a".into()]),
        cut: watch::Sender::new(0),
        log: Arc::default(),
    };
    let port = istiod.serve("127.0.0.1:0").await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("root.pem"), istiod.authority.root_pem()).unwrap();
    std::fs::write(dir.path().join("token"), "token-of-reviews\n").unwrap();
    let status_port = free_port().await;
    let settings = settings(dir.path(), port, status_port);
    let (seen_in, mut seen) = watch::channel(BTreeMap::new());
    let proxy = Arc::new(Proxy {
        sockets: (settings.paths.xds.clone(), settings.paths.sds.clone()),
        delta,
        seen: seen_in,
        started: Mutex::new(None),
        running: Arc::default(),
    });
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
    istiod.names.send_replace(vec!["a".into(), "b".into()]);
    seen.wait_for(|seen| seen.contains_key("b")).await.unwrap();
    istiod.cut.send_modify(|cuts| *cuts += 1);
    istiod.names.send_replace(vec!["b".into(), "c".into()]);
    seen.wait_for(|seen| seen.contains_key("c") && !seen.contains_key("a")).await.unwrap();

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

    // The end.
    stop.request();
    agent.await.unwrap().unwrap();
    assert_eq!(*proxy.running.calls.lock().unwrap(), ["drain", "shutdown"]);
}

#[tokio::test]
async fn incremental() {
    life(true).await;
}

#[tokio::test]
async fn state_of_the_world() {
    life(false).await;
}
