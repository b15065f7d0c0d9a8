//! The connected proxies: who they are, what each was sent, and what waits for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_mesh::{ProxyIdentity, ProxyView};
use meltemi_xds::Subscription;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::hub::Push;
use crate::metrics::Metrics;

/// What a proxy holds of one type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypeState {
    /// Nonce of the last response sent.
    pub sent: String,
    /// Nonce of the last response accepted.
    pub acked: String,
    /// Nonce of the last response refused, and why; empty when the last answer was an acceptance.
    pub nacked: String,
    /// What the proxy said when it refused.
    pub error: String,
    /// When the last response was sent.
    pub sent_at: Option<jiff::Timestamp>,
    /// Resources in the last response.
    pub resources: usize,
    /// Bytes of the last response.
    pub bytes: usize,
    /// What the proxy asked for.
    pub subscription: Option<Subscription>,
}

/// One connected proxy.
#[derive(Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// `Node.id`.
    pub node_id: String,
    /// Who it is.
    pub identity: ProxyIdentity,
    /// The SPIFFE id that it proved; none on the loopback.
    pub principal: Option<String>,
    /// Where it comes from.
    pub remote: Option<SocketAddr>,
    /// When it came.
    pub since: jiff::Timestamp,
    /// Whether it speaks the incremental protocol.
    pub delta: bool,
    types: Mutex<BTreeMap<String, TypeState>>,
    view: Mutex<Option<Arc<ProxyView>>>,
    inbox: Mutex<Inbox>,
    wake: Notify,
    close: CancellationToken,
}

/// Pushes that a proxy has not been served yet.
#[derive(Debug, Default)]
pub struct Inbox {
    /// In order; the last is what to serve now.
    pub pushes: Vec<Arc<Push>>,
    /// There were too many to keep: everything may be different.
    pub overflown: bool,
}

/// A proxy that does not take its pushes must not make us keep every snapshot there ever was.
const MOST_WAITING: usize = 16;

impl Inbox {
    fn put(&mut self, push: Arc<Push>) {
        if self.pushes.len() >= MOST_WAITING {
            self.pushes.clear();
            self.overflown = true;
        }
        self.pushes.push(push);
    }
}

/// One proxy needs one stream, for a moment two; the rest is for tools, and for pods that share their node's address.
const MOST_OF_ONE: usize = 256;

/// Why a proxy is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} has {MOST_OF_ONE} streams from one address already")]
pub struct TooMany {
    principal: String,
}

/// Who connects.
pub struct Arrival {
    /// Unique in this process.
    pub id: u64,
    /// `Node.id`.
    pub node_id: String,
    /// Who it is.
    pub identity: ProxyIdentity,
    /// The SPIFFE id that it proved.
    pub principal: Option<String>,
    /// Where it comes from.
    pub remote: Option<SocketAddr>,
    /// Whether it speaks the incremental protocol.
    pub delta: bool,
}

impl Connection {
    fn new(arrival: Arrival) -> Self {
        let Arrival { id, node_id, identity, principal, remote, delta } = arrival;
        Self {
            id,
            node_id,
            identity,
            principal,
            remote,
            since: jiff::Timestamp::now(),
            delta,
            types: Mutex::default(),
            view: Mutex::default(),
            inbox: Mutex::default(),
            wake: Notify::new(),
            close: CancellationToken::new(),
        }
    }

    /// `reviews-v1-abc.default`.
    pub fn proxy_name(&self) -> String {
        format!("{}.{}", self.identity.name, self.identity.namespace)
    }

    /// What it holds, by type URL.
    pub fn types(&self) -> BTreeMap<String, TypeState> {
        self.types.lock().clone()
    }

    /// Notes something about a type.
    pub fn note(&self, type_url: &str, change: impl FnOnce(&mut TypeState)) {
        let mut types = self.types.lock();
        match types.get_mut(type_url) {
            Some(state) => change(state),
            None => change(types.entry(type_url.to_owned()).or_default()),
        }
    }

    /// What it asked for of a type; nothing if it never asked.
    pub fn subscription(&self, type_url: &str) -> Option<Subscription> {
        self.types.lock().get(type_url)?.subscription.clone()
    }

    /// The view that it was last served from.
    pub fn view(&self) -> Option<Arc<ProxyView>> {
        self.view.lock().clone()
    }

    pub(crate) fn set_view(&self, view: Arc<ProxyView>) {
        *self.view.lock() = Some(view);
    }

    fn deliver(&self, push: Arc<Push>) {
        self.inbox.lock().put(push);
        self.wake.notify_one();
    }

    /// Waits for pushes; `None` when the connection is to be closed.
    pub async fn pushes(&self) -> Option<Inbox> {
        loop {
            let waiting = std::mem::take(&mut *self.inbox.lock());
            if !waiting.pushes.is_empty() {
                return Some(waiting);
            }
            tokio::select! {
                biased;
                () = self.close.cancelled() => return None,
                () = self.wake.notified() => {}
            }
        }
    }

    /// Ends the stream; the proxy will come again.
    pub fn close(&self) {
        self.close.cancel();
    }
}

/// All connected proxies.
pub struct Connections {
    all: Mutex<BTreeMap<u64, Arc<Connection>>>,
    metrics: Arc<Metrics>,
}

/// A connection's place in the list; leaves it when dropped.
pub struct Registered {
    /// The connection.
    pub connection: Arc<Connection>,
    all: Arc<Connections>,
}

impl std::ops::Deref for Registered {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut all = self.all.all.lock();
        all.remove(&self.connection.id);
        self.all.metrics.connections.set(all.len() as f64);
    }
}

impl Connections {
    /// Nobody is connected.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { all: Mutex::default(), metrics }
    }

    /// A proxy has come.
    ///
    /// # Errors
    /// When the same principal holds too many streams from the same address.
    pub fn register(self: &Arc<Self>, arrival: Arrival) -> Result<Registered, TooMany> {
        let connection = Arc::new(Connection::new(arrival));
        let mut all = self.all.lock();
        let from = |connection: &Connection| connection.remote.map(|remote| remote.ip());
        let alike = |other: &&Arc<Connection>| {
            other.principal == connection.principal && from(other) == from(&connection)
        };
        if all.values().filter(alike).count() >= MOST_OF_ONE {
            let principal = connection.principal.clone().unwrap_or_else(|| "this machine".to_owned());
            return Err(TooMany { principal });
        }
        all.insert(connection.id, connection.clone());
        self.metrics.connections.set(all.len() as f64);
        Ok(Registered { connection, all: self.clone() })
    }

    /// Who is connected.
    pub fn list(&self) -> Vec<Arc<Connection>> {
        self.all.lock().values().cloned().collect()
    }

    /// The connection of a proxy, by `pod.namespace` or by node id.
    pub fn find(&self, proxy: &str) -> Option<Arc<Connection>> {
        // A proxy that connects anew may be listed twice for a moment: the younger counts.
        self.list()
            .into_iter()
            .rev()
            .find(|connection| connection.proxy_name() == proxy || connection.node_id == proxy)
    }

    /// Puts a push into every connection's inbox; each weighs on its own task what it means for its proxy.
    pub fn push(&self, push: &Arc<Push>) {
        for connection in self.all.lock().values() {
            connection.deliver(push.clone());
        }
    }
}

#[cfg(test)]
mod tests;
