//! The gRPC adapters against each other over pipes: connect, push, refuse, lose the server, find it again.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::type_url;
use meltemi_xds::client::{self, Applied, Apply, ClientOptions, Connection, Connector, Update};
use meltemi_xds::server::{self, Handler, Session, StreamInfo};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use prost::Message;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

type Set = BTreeMap<String, u32>;

/// Serves clusters out of a watched map.
struct Source {
    truth: watch::Sender<Set>,
    /// Ends all sessions, as the death of the server would.
    cut: watch::Sender<u32>,
    log: Mutex<Vec<String>>,
}

struct Stream {
    source: Arc<Source>,
    truth: watch::Receiver<Set>,
    cut: watch::Receiver<u32>,
}

struct Shared(Arc<Source>);

#[tonic::async_trait]
impl Handler for Shared {
    type Session = Stream;

    async fn open(&self, info: StreamInfo) -> Result<Stream, Status> {
        self.0.note(format!("open {} delta={}", info.node.id, info.delta));
        match info.peer.metadata.get("authorization").and_then(|token| token.to_str().ok()) {
            Some("Bearer good") => Ok(Stream {
                truth: self.0.truth.subscribe(),
                cut: self.0.cut.subscribe(),
                source: self.0.clone(),
            }),
            _ => Err(Status::unauthenticated("wrong token")),
        }
    }
}

impl Source {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn count(&self, prefix: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.starts_with(prefix)).count()
    }
}

#[tonic::async_trait]
impl Session for Stream {
    fn resources(&mut self, type_url: &str, _: &Subscription) -> ResourceSet {
        assert_eq!(type_url, type_url::CLUSTER);
        let resource = |(name, version): (&String, &u32)| {
            let message =
                Cluster { name: name.clone(), alt_stat_name: version.to_string(), ..Default::default() };
            let name: Arc<str> = Arc::from(name.as_str());
            let version: Arc<str> = version.to_string().into();
            let body = Bytes::from(message.encode_to_vec());
            (name.clone(), Resource { name, version, body, type_url: type_url::CLUSTER })
        };
        Arc::new(self.truth.borrow_and_update().iter().map(resource).collect())
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        tokio::select! {
            changed = self.truth.changed() => changed.ok()?,
            _ = self.cut.changed() => return None,
        }
        Some(vec![type_url::CLUSTER])
    }

    fn acked(&mut self, _: &str, _: &str, _: &str) {
        self.source.note("ack".into());
    }

    fn nacked(&mut self, _: &str, _: &str, error: &str) {
        self.source.note(format!("nack {error}"));
    }

    fn sent(&mut self, _: &str, _: &str, resources: usize, _: usize) {
        self.source.note(format!("sent {resources}"));
    }
}

/// Hands the far end of each new pipe to whatever server is up.
struct Pipes {
    server: watch::Receiver<Option<mpsc::UnboundedSender<std::io::Result<DuplexStream>>>>,
    token: &'static str,
}

#[tonic::async_trait]
impl Connector for Pipes {
    async fn connect(&mut self) -> Result<Connection, Box<dyn Error + Send + Sync>> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let server = self.server.borrow().clone().ok_or("no server")?;
        server.send(Ok(far)).map_err(|_| "the server is gone")?;
        let mut connection = Connection::new(near, "istiod.test");
        connection.metadata.insert("authorization", self.token.parse()?);
        Ok(connection)
    }
}

struct Sink {
    applied: watch::Sender<Set>,
    up: watch::Sender<bool>,
}

impl Apply for Sink {
    fn apply(&mut self, update: Update) -> Applied {
        let mut applied = Applied::ok();
        self.applied.send_modify(|set| {
            for resource in &update.upserts {
                let version = Cluster::decode(resource.body.clone()).unwrap().alt_stat_name.parse().unwrap();
                if version == 13 {
                    applied.rejected.push((resource.name.clone(), "unlucky".into()));
                } else {
                    set.insert(resource.name.to_string(), version);
                }
            }
            let removed: BTreeSet<&str> = update.removed.iter().map(AsRef::as_ref).collect();
            set.retain(|name, _| !removed.contains(name.as_str()));
        });
        applied
    }

    fn connected(&mut self, up: bool) {
        self.up.send_replace(up);
    }
}

struct Bench {
    source: Arc<Source>,
    server: watch::Sender<Option<mpsc::UnboundedSender<std::io::Result<DuplexStream>>>>,
    serving: Option<tokio::task::JoinHandle<()>>,
    applied: watch::Receiver<Set>,
    up: watch::Receiver<bool>,
    stop: CancellationToken,
}

impl Bench {
    fn start(delta: bool, token: &'static str) -> Self {
        let source = Arc::new(Source {
            truth: watch::Sender::new(Set::new()),
            cut: watch::Sender::new(0),
            log: Mutex::default(),
        });
        let (server, pipes) = watch::channel(None);
        let (applied_in, applied) = watch::channel(Set::new());
        let (up_in, up) = watch::channel(false);
        let node = Node { id: "proxy-1".into(), ..Default::default() };
        let options = ClientOptions::new(node, delta, vec![(type_url::CLUSTER, Subscription::Wildcard)]);
        let stop = CancellationToken::new();
        let connector = Pipes { server: pipes, token };
        let sink = Sink { applied: applied_in, up: up_in };
        tokio::spawn(client::run(options, connector, sink, stop.clone()));
        let mut bench = Self { source, server, serving: None, applied, up, stop };
        bench.serve();
        bench
    }

    fn serve(&mut self) {
        let (connections, incoming) = mpsc::unbounded_channel();
        let service = server::service(Arc::new(Shared(self.source.clone())));
        self.serving = Some(tokio::spawn(async move {
            let incoming = UnboundedReceiverStream::new(incoming);
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        }));
        self.server.send_replace(Some(connections));
    }

    async fn kill(&mut self) {
        self.server.send_replace(None);
        let serving = self.serving.take().unwrap();
        serving.abort();
        self.source.cut.send_modify(|cuts| *cuts += 1);
        let _ = serving.await;
    }

    fn change(&self, change: impl FnOnce(&mut Set)) {
        self.source.truth.send_modify(change);
    }

    async fn sees(&mut self, expected: &[(&str, u32)]) {
        let expected: Set = expected.iter().map(|(name, version)| (name.to_string(), *version)).collect();
        self.applied.wait_for(|set| *set == expected).await.unwrap();
    }
}

async fn life(delta: bool) {
    let mut bench = Bench::start(delta, "Bearer good");
    bench.change(|set| {
        set.insert("a".into(), 1);
    });
    bench.sees(&[("a", 1)]).await;
    bench.change(|set| set.extend([("b".into(), 2), ("c".into(), 3)]));
    bench.sees(&[("a", 1), ("b", 2), ("c", 3)]).await;
    bench.change(|set| {
        set.remove("a");
    });
    bench.sees(&[("b", 2), ("c", 3)]).await;

    // A refused version is told, and the rest of the same response is in force.
    bench.change(|set| set.extend([("b".into(), 13), ("c".into(), 4)]));
    bench.sees(&[("b", 2), ("c", 4)]).await;
    bench.change(|set| {
        set.insert("b".into(), 5);
    });
    bench.sees(&[("b", 5), ("c", 4)]).await;
    assert_eq!(bench.source.count("nack b: unlucky"), 1);
    bench.stop.cancel();
}

#[tokio::test]
async fn a_delta_client_follows_the_server() {
    life(true).await;
}

#[tokio::test]
async fn a_state_of_the_world_client_follows_the_server() {
    life(false).await;
}

async fn restart(delta: bool) {
    let mut bench = Bench::start(delta, "Bearer good");
    bench.change(|set| set.extend([("a".into(), 1), ("b".into(), 2)]));
    bench.sees(&[("a", 1), ("b", 2)]).await;
    bench.kill().await;
    bench.up.wait_for(|up| !up).await.unwrap();
    bench.change(|set| {
        set.remove("a");
        set.insert("c".into(), 3);
    });
    assert_eq!(bench.applied.borrow().len(), 2, "what was applied stays in force");
    bench.serve();
    bench.sees(&[("b", 2), ("c", 3)]).await;
    if delta {
        assert_eq!(bench.source.count("sent 1"), 1, "only the new one was sent: {:?}", bench.source.log);
    }
    bench.stop.cancel();
}

#[tokio::test]
async fn delta_survives_a_restart_of_the_server() {
    restart(true).await;
}

#[tokio::test]
async fn state_of_the_world_survives_a_restart_of_the_server() {
    restart(false).await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_tried_again() {
    let bench = Bench::start(true, "Bearer bad");
    while bench.source.count("open proxy-1 delta=true") < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(bench.applied.borrow().is_empty());
    bench.stop.cancel();
}
