//! What the owner of the resources implements.

use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Node;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::{ResourceSet, Subscription};

/// Where a stream comes from.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Address of the peer, absent on Unix sockets.
    pub remote: Option<SocketAddr>,
    /// Request headers: `authorization` among them.
    pub metadata: MetadataMap,
    /// What the transport learned: a verified identity, for one.
    pub extensions: tonic::Extensions,
}

/// A stream that has said who it is.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Unique in this process.
    pub id: u64,
    /// The node of the first request.
    pub node: Node,
    /// Transport facts.
    pub peer: Peer,
    /// Delta or state of the world.
    pub delta: bool,
}

/// Opens sessions. One handler serves all streams.
#[tonic::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// What it keeps for a stream.
    type Session: Session;

    /// Admits a stream or refuses it; called once its first request has told the node.
    async fn open(&self, info: StreamInfo) -> Result<Self::Session, Status>;
}

/// One stream's view of the resources.
#[tonic::async_trait]
pub trait Session: Send + 'static {
    /// The resources of one type this proxy may see now; `subscription` is a wildcard or the set of names asked
    /// for. Resources that were not asked for are left out by the caller.
    fn resources(&mut self, type_url: &str, subscription: &Subscription) -> ResourceSet;

    /// Waits for the next change and returns the type URLs that may have changed; `None` closes the stream.
    /// Must be cancel safe: it is polled again after each request of the peer.
    async fn changed(&mut self) -> Option<Vec<&'static str>>;

    /// The peer accepted a response.
    fn acked(&mut self, type_url: &str, version: &str, nonce: &str);

    /// The peer refused a response and keeps what it had.
    fn nacked(&mut self, type_url: &str, nonce: &str, error: &str);

    /// A response is about to be sent. For counters and `proxy-status`.
    fn sent(&mut self, type_url: &str, nonce: &str, resources: usize, bytes: usize) {
        let _ = (type_url, nonce, resources, bytes);
    }
}

#[tonic::async_trait]
impl<H: Handler> Handler for Arc<H> {
    type Session = H::Session;

    async fn open(&self, info: StreamInfo) -> Result<Self::Session, Status> {
        H::open(self, info).await
    }
}
