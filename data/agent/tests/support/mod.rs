//! A control plane of a few clusters, and the settings of an agent of it.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use meltemi_agent::cli::ProxyArgs;
use meltemi_agent::environment::Environment;
use meltemi_agent::settings::{Paths, Settings};
use meltemi_identity::authority::Authority;
use meltemi_identity::{serving, tls};
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::listener::v3::Listener;
use meltemi_proto::istio::auth::v1::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use meltemi_proto::istio::auth::v1::{IstioCertificateRequest, IstioCertificateResponse};
use meltemi_proto::istio::nds::NameTable;
use meltemi_proto::istio::nds::name_table::NameInfo;
use meltemi_proto::type_url;
use meltemi_xds::server::{self, Handler, Session, StreamInfo};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use prost::Message;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status};

pub const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: &str = "Bearer token-of-reviews";
pub const ID: &str = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";

/// A control plane.
#[derive(Clone)]
pub struct Istiod {
    pub authority: Arc<Authority>,
    pub clusters: watch::Sender<Vec<Cluster>>,
    /// Ends all streams.
    pub cut: watch::Sender<u32>,
    log: Arc<Mutex<Vec<String>>>,
}

/// A cluster that is only a name.
pub fn named(name: &str) -> Cluster {
    Cluster { name: name.into(), ..Default::default() }
}

impl Istiod {
    pub fn new(clusters: Vec<Cluster>) -> Self {
        Self {
            authority: Arc::new(Authority::self_signed("cluster.local", 99 * HOUR).unwrap()),
            clusters: watch::Sender::new(clusters),
            cut: watch::Sender::new(0),
            log: Arc::default(),
        }
    }

    /// Files of an agent of this control plane, and its settings.
    pub async fn agent(&self, dir: &Path) -> Settings {
        let port = self.serve("127.0.0.1:0").await;
        std::fs::write(dir.join("root.pem"), self.authority.root_pem()).unwrap();
        std::fs::write(dir.join("token"), "token-of-reviews\n").unwrap();
        settings(dir, port, free_port().await)
    }

    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    pub fn count(&self, line: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|logged| logged.starts_with(line)).count()
    }

    /// Serves TLS on a port of the loopback.
    pub async fn serve(&self, address: &str) -> u16 {
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

pub struct Stream {
    clusters: watch::Receiver<Vec<Cluster>>,
    cut: watch::Receiver<u32>,
    log: Arc<Mutex<Vec<String>>>,
}

/// A table in which every cluster is a host.
fn names(clusters: &[Cluster]) -> ResourceSet {
    let info = NameInfo { ips: vec!["240.240.0.1".into()], ..Default::default() };
    let table = clusters.iter().map(|cluster| (cluster.name.clone(), info.clone())).collect();
    let mut body = NameTable { table }.encode_to_vec();
    if clusters.iter().any(|cluster| cluster.name == "broken") {
        body = vec![0xff];
    }
    let name: Arc<str> = "".into();
    let hosts: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let version = hosts.join(",").into();
    let resource =
        Resource { name: name.clone(), version, body: body.into(), type_url: type_url::NAME_TABLE };
    Arc::new([(name, resource)].into_iter().collect())
}

#[tonic::async_trait]
impl Handler for Istiod {
    type Session = Stream;

    async fn open(&self, info: StreamInfo) -> Result<Stream, Status> {
        check_token(&info.peer.metadata)?;
        self.note(format!("stream {}", info.node.id));
        Ok(Stream { clusters: self.clusters.subscribe(), cut: self.cut.subscribe(), log: self.log.clone() })
    }
}

#[tonic::async_trait]
impl Session for Stream {
    fn resources(&mut self, type_url: &str, subscription: &Subscription) -> ResourceSet {
        if type_url == type_url::LISTENER {
            let body = Bytes::from(Listener { name: "l".into(), ..Default::default() }.encode_to_vec());
            let name: Arc<str> = Arc::from("l");
            let listener =
                Resource { name: name.clone(), version: "1".into(), body, type_url: type_url::LISTENER };
            return Arc::new([(name, listener)].into());
        }
        if type_url == type_url::NAME_TABLE {
            assert_eq!(*subscription, Subscription::Wildcard);
            return names(&self.clusters.borrow_and_update());
        }
        if type_url != type_url::CLUSTER {
            return ResourceSet::default();
        }
        let resource = |cluster: &Cluster| {
            let body = Bytes::from(cluster.encode_to_vec());
            let name: Arc<str> = Arc::from(cluster.name.as_str());
            (name.clone(), Resource { name, version: "1".into(), body, type_url: type_url::CLUSTER })
        };
        Arc::new(self.clusters.borrow_and_update().iter().map(resource).collect())
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        tokio::select! {
            changed = self.clusters.changed() => changed.ok()?,
            _ = self.cut.changed() => return None,
        }
        Some(vec![type_url::CLUSTER, type_url::NAME_TABLE])
    }

    fn acked(&mut self, type_url: &str, _: &str, _: &str) {
        self.log.lock().unwrap().push(format!("ack {type_url}"));
    }
    fn nacked(&mut self, type_url: &str, _: &str, error: &str) {
        self.log.lock().unwrap().push(format!("nack {type_url} {error}"));
    }
}

fn settings(dir: &Path, port: u16, status_port: u16) -> Settings {
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
        last_good: dir.join("last-good"),
        output_certs: None,
        grpc_bootstrap: dir.join("grpc-bootstrap.json"),
    };
    settings
}

pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
