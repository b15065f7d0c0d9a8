//! A proxy that takes what it is sent and tells the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::node::NodeMetadata;
use meltemi_proto::type_url;
use meltemi_xds::Subscription;
use meltemi_xds::client::{self, Applied, Apply, ClientOptions, Connection, Connector, Update};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::soon;

pub fn node(namespace: &str, name: &str, account: &str) -> Node {
    let metadata = NodeMetadata {
        namespace: namespace.to_owned(),
        service_account: account.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        ..NodeMetadata::default()
    };
    Node {
        id: format!("sidecar~10.244.9.9~{name}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(metadata.to_struct()),
        ..Node::default()
    }
}

/// Connects in plain text with a token.
pub struct Plain {
    pub address: SocketAddr,
    pub token: &'static str,
}

#[tonic::async_trait]
impl Connector for Plain {
    async fn connect(&mut self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = Connection::new(TcpStream::connect(self.address).await?, "istiod");
        connection.metadata.insert("authorization", format!("Bearer {}", self.token).parse()?);
        Ok(connection)
    }
}

struct Teller {
    updates: mpsc::UnboundedSender<Update>,
    reject: Option<&'static str>,
}

impl Apply for Teller {
    fn apply(&mut self, update: Update) -> Applied {
        let mut applied = Applied::ok();
        match update.type_url {
            type_url::CLUSTER => {
                let eds = update
                    .upserts
                    .iter()
                    .map(|r| r.name.clone())
                    .filter(|name| name.starts_with("outbound|"));
                applied.subscribe.push((type_url::ENDPOINT, Subscription::names(eds)));
            }
            type_url::LISTENER => applied.subscribe.push((type_url::ROUTE, Subscription::names(["9080"]))),
            _ => {}
        }
        if self.reject == Some(update.type_url) {
            applied.rejected =
                update.upserts.iter().map(|r| (r.name.clone(), "I do not like it".to_owned())).collect();
        }
        let _ = self.updates.send(update);
        applied
    }
}

/// A connected proxy.
pub struct TestProxy {
    updates: mpsc::UnboundedReceiver<Update>,
    _stop: DropGuard,
}

impl TestProxy {
    pub fn start(
        node: Node,
        delta: bool,
        connect: impl Connector + 'static,
        reject: Option<&'static str>,
    ) -> Self {
        let (sender, updates) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let types =
            vec![(type_url::CLUSTER, Subscription::Wildcard), (type_url::LISTENER, Subscription::Wildcard)];
        let options = ClientOptions::new(node, delta, types);
        tokio::spawn(client::run(options, connect, Teller { updates: sender, reject }, stop.clone()));
        Self { updates, _stop: stop.drop_guard() }
    }

    /// The next update.
    pub async fn next(&mut self) -> Update {
        soon(self.updates.recv()).await.unwrap()
    }

    /// The next update of a type; others on the way are dropped.
    pub async fn next_of(&mut self, type_url: &str) -> Update {
        loop {
            let update = self.next().await;
            if update.type_url == type_url {
                return update;
            }
        }
    }

    /// Takes the first update of each of these types, in whatever order, and with them everything of the start.
    pub async fn started(&mut self) -> BTreeMap<&'static str, Update> {
        let mut first = BTreeMap::new();
        while first.len() < 4 {
            let update = self.next().await;
            first.entry(update.type_url).or_insert(update);
        }
        first
    }
}

/// The names of what came.
pub fn names(update: &Update) -> Vec<Arc<str>> {
    update.upserts.iter().map(|resource| resource.name.clone()).collect()
}
