//! Drives a machine over a stream of requests and a session's changes.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use meltemi_proto::type_url;
use tokio::sync::mpsc;
use tonic::Status;

use super::handler::{Handler, Peer, Session, StreamInfo};
use super::machine::{Machine, Refusal};
use crate::resource::push_rank;

/// What one peer may ask of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one request.
    pub request_bytes: usize,
    /// Responses queued towards one peer before we wait for it.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_bytes: 16 << 20, queue: 4 }
    }
}

/// Responses on their way to the peer.
pub type Out<M> = mpsc::Sender<Result<<M as Machine>::Response, Status>>;

/// Serves one stream until either side ends it. For those who have a stream in hand; others use [`super::service`].
pub async fn drive<M, H, I>(handler: H, peer: Peer, inbound: I, out: Out<M>, node_needed: bool)
where
    M: Machine,
    H: Handler,
    I: Stream<Item = Result<M::Request, Status>> + Send + Unpin,
{
    if let Err(status) = serve::<M, H, I>(handler, peer, inbound, &out, node_needed).await {
        // A failed send means that the peer is gone, which is what we wanted to tell it.
        let _ = out.send(Err(status)).await;
    }
}

async fn serve<M, H, I>(
    handler: H,
    peer: Peer,
    mut inbound: I,
    out: &Out<M>,
    node_needed: bool,
) -> Result<(), Status>
where
    M: Machine,
    H: Handler,
    I: Stream<Item = Result<M::Request, Status>> + Send + Unpin,
{
    let Some(first) = inbound.next().await else { return Ok(()) };
    let mut first = first?;
    let node = match M::node(&mut first) {
        Some(node) => node,
        None if node_needed => {
            return Err(Status::invalid_argument(
                "the first discovery request of a stream must carry `node`",
            ));
        }
        None => Default::default(),
    };
    let session = handler.open(StreamInfo { id: next_id(), node, peer, delta: M::DELTA }).await?;
    let mut driver = Driver { machine: M::default(), session, out };
    driver.request(first).await?;
    loop {
        tokio::select! {
            biased;
            request = inbound.next() => match request {
                None => return Ok(()),
                Some(request) => driver.request(request?).await?,
            },
            changed = driver.session.changed() => match changed {
                None => return Ok(()),
                Some(types) => driver.push(types).await?,
            },
        }
    }
}

struct Driver<'a, M: Machine, S> {
    machine: M,
    session: S,
    out: &'a Out<M>,
}

impl<M: Machine, S: Session> Driver<'_, M, S> {
    async fn request(&mut self, request: M::Request) -> Result<(), Status> {
        let outcome = self.machine.request(request).map_err(refused)?;
        if let Some(ack) = &outcome.ack {
            match &ack.error {
                None => self.session.acked(&outcome.type_url, &ack.version, &ack.nonce),
                Some(error) => self.session.nacked(&outcome.type_url, &ack.nonce, error),
            }
        }
        if outcome.answer { self.answer(&outcome.type_url).await } else { Ok(()) }
    }

    /// Pushes in the order in which a client can take things in without a dangling reference.
    async fn push(&mut self, mut types: Vec<&'static str>) -> Result<(), Status> {
        types.sort_unstable_by_key(|type_url| push_rank(type_url));
        types.dedup();
        for type_url in types {
            self.answer(type_url).await?;
        }
        Ok(())
    }

    /// Sends what the client lacks of a type, and after clusters the endpoints that it needs to put them in force.
    async fn answer(&mut self, type_url: &str) -> Result<(), Status> {
        let sent = self.send(type_url).await?;
        if sent && type_url == type_url::CLUSTER && M::DELTA {
            self.send(type_url::ENDPOINT).await?;
        }
        Ok(())
    }

    /// Returns whether there was anything to send.
    async fn send(&mut self, type_url: &str) -> Result<bool, Status> {
        if !self.machine.ready(type_url) {
            return Ok(false);
        }
        let Some(subscription) = self.machine.subscription(type_url) else { return Ok(false) };
        let set = self.session.resources(type_url, subscription);
        let Some(sent) = self.machine.respond(type_url, &set) else { return Ok(false) };
        self.session.sent(type_url, &sent.nonce, sent.resources, sent.bytes);
        let sending = self.out.send(Ok(sent.response)).await;
        sending.map(|()| true).map_err(|_| Status::cancelled("the peer is gone"))
    }
}

fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::NoType => Status::invalid_argument(refusal.to_string()),
        _ => Status::resource_exhausted(refusal.to_string()),
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
