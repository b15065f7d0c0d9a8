//! What the two server machines have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Node;

use crate::{ResourceSet, Subscription};

/// Names one stream may subscribe to, of one type.
pub(crate) const MAX_NAMES: usize = 100_000;
/// Bytes of one name.
pub(crate) const MAX_NAME: usize = 2048;
/// Types one stream may ask for.
pub(crate) const MAX_TYPES: usize = 64;

/// The peer's verdict on a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Version of the response.
    pub version: String,
    /// Nonce of the response.
    pub nonce: String,
    /// The peer's reason when it refused.
    pub error: Option<String>,
}

/// What a request means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Type URL of the request.
    pub type_url: Arc<str>,
    /// A verdict on our last response.
    pub ack: Option<Ack>,
    /// The peer waits for (or we still owe) an answer of this type.
    pub answer: bool,
}

/// A request that breaks a limit; the stream must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No type URL.
    #[error("a discovery request without type_url: on an aggregated stream every request must name its type")]
    NoType,
    /// Too many types.
    #[error("more than {MAX_TYPES} resource types on one stream")]
    Types,
    /// Too many names.
    #[error("more than {MAX_NAMES} names subscribed of {0}")]
    Names(String),
    /// A name too long.
    #[error("a resource name of {1} bytes in a request for {0}; the limit is {MAX_NAME}")]
    Name(String, usize),
}

/// A server machine: one stream's protocol state. Pure.
pub trait Machine: Default + Send + 'static {
    /// Message of the client.
    type Request: Send + 'static;
    /// Message of the server.
    type Response: Send + 'static;
    /// Delta or state of the world.
    const DELTA: bool;

    /// The node of a request; clients need to send it in the first one only.
    fn node(request: &mut Self::Request) -> Option<Node>;

    /// Takes a request in.
    ///
    /// # Errors
    /// When it breaks a limit.
    fn request(&mut self, request: Self::Request) -> Result<Outcome, Refusal>;

    /// What is subscribed of a type, if anything ever was.
    fn subscription(&self, type_url: &str) -> Option<&Subscription>;

    /// May a response of this type be sent now? Nothing of a type is sent while the verdict on the response before
    /// is out; then the machine remembers the wish and the request with that verdict asks for an answer.
    fn ready(&mut self, type_url: &str) -> bool;

    /// The response that brings the client to `set`, or nothing when it has that already or is not
    /// [ready](Machine::ready).
    fn respond(&mut self, type_url: &str, set: &ResourceSet) -> Option<Sent<Self::Response>>;
}

/// A response and its summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent<R> {
    /// The message.
    pub response: R,
    /// Its nonce.
    pub nonce: String,
    /// Resources in it.
    pub resources: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
}

/// Names of a request, with limits enforced.
pub(crate) fn names(type_url: &str, raw: Vec<String>) -> Result<BTreeSet<Arc<str>>, Refusal> {
    if raw.len() > MAX_NAMES {
        return Err(Refusal::Names(type_url.to_owned()));
    }
    if let Some(long) = raw.iter().find(|name| name.len() > MAX_NAME) {
        return Err(Refusal::Name(type_url.to_owned(), long.len()));
    }
    Ok(raw.into_iter().map(Arc::from).collect())
}

/// Nonces of one stream: a counter, so that order can be seen in logs.
#[derive(Debug, Default)]
pub(crate) struct Nonces(u64);

impl Nonces {
    pub(crate) fn next(&mut self) -> String {
        self.0 += 1;
        self.0.to_string()
    }
}
