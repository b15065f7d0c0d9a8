//! HTTP/2 connections: many requests at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::HostPool;
use super::lease::Lease;
use crate::http2::{KeepAlive, open};
use crate::net::gather::Gather;
use crate::upstream::connect::{ConnInfo, ConnectError, Connected};

/// A HTTP/2 connection with what is open on it.
pub(super) struct Multiplexed {
    sender: RefCell<SendRequest<Bytes>>,
    pub(super) info: Arc<ConnInfo>,
    active: Cell<u32>,
    requests: Cell<u32>,
    born: Instant,
    idle_since: Cell<Instant>,
    /// Tells, by being dropped after `sender`, that no more requests will come.
    _used: oneshot::Sender<()>,
}

impl Multiplexed {
    /// What opens a stream.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.borrow().clone()
    }

    /// Whether no stream can be opened any more: the connection has ended, or the peer has said that it will.
    fn is_closed(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender.borrow_mut().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn has_room(&self, most: u32) -> bool {
        let limit = self.sender.borrow().current_max_send_streams().min(most as usize);
        (self.active.get() as usize) < limit
    }
}

impl HostPool {
    /// A connection with room for another stream.
    pub(super) fn ready_http2(self: &Rc<Self>) -> Option<Lease> {
        let mut connections = self.multiplexed.borrow_mut();
        connections.retain(|conn| !conn.is_closed() && !self.is_used_up(conn));
        let most = self.cluster.http.max_concurrent_streams;
        let conn = connections.iter().find(|conn| conn.has_room(most))?;
        Some(Lease::http2(self, Stream::begin(self, conn), true))
    }

    fn is_used_up(&self, conn: &Multiplexed) -> bool {
        let http = &self.cluster.http;
        http.max_requests_per_connection.is_some_and(|max| conn.requests.get() >= max)
            || http.max_connection_duration.is_some_and(|max| conn.born.elapsed() >= max)
    }

    pub(super) async fn start_http2(self: &Rc<Self>, connected: Connected) -> Result<Lease, ConnectError> {
        let Connected { io, info, guard } = connected;
        let options = &self.cluster.http;
        let keep_alive = options.keepalive.map(|(interval, timeout)| KeepAlive { interval, timeout });
        let opened = open(Gather::new(io), options.windows, keep_alive).await;
        let (sender, driver) = opened.map_err(|error| ConnectError::Failed(error.to_string()))?;
        self.cluster.stats.upstream_cx_http2_total().inc();
        self.opened();
        let (used, unused) = oneshot::channel();
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            let outcome = driver.run(unused).await;
            tracing::trace!(?outcome, "upstream connection ended");
            drop(guard);
            if let Some(pool) = pool.upgrade() {
                pool.closed();
            }
        });
        let now = Instant::now();
        let conn = Rc::new(Multiplexed {
            sender: RefCell::new(sender),
            info,
            active: Cell::new(0),
            requests: Cell::new(0),
            born: now,
            idle_since: Cell::new(now),
            _used: used,
        });
        self.multiplexed.borrow_mut().push(conn.clone());
        let stream = Stream::begin(self, &conn);
        // There is room for more than this one.
        self.wake_all(&Ok(()));
        Ok(Lease::http2(self, stream, false))
    }

    pub(super) fn sweep_http2(&self, now: Instant, retired: bool) {
        let timeout = self.cluster.http.idle_timeout;
        self.multiplexed.borrow_mut().retain(|conn| {
            let idle = conn.active.get() == 0;
            let late = idle && timeout.is_some_and(|t| now.duration_since(conn.idle_since.get()) >= t);
            let over = conn.is_closed() || late || (retired && idle);
            !over
        });
    }
}

/// One stream of a connection; counts until dropped.
pub(super) struct Stream {
    pub(super) conn: Rc<Multiplexed>,
    pool: Rc<HostPool>,
}

impl Stream {
    fn begin(pool: &Rc<HostPool>, conn: &Rc<Multiplexed>) -> Self {
        conn.active.set(conn.active.get() + 1);
        conn.requests.set(conn.requests.get().saturating_add(1));
        Self { conn: conn.clone(), pool: pool.clone() }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.conn.active.set(self.conn.active.get().saturating_sub(1));
        self.conn.idle_since.set(Instant::now());
        // Its place is free.
        self.pool.wake_one();
    }
}
