//! HTTP/2 connections: many requests at a time.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::HostPool;
use super::lease::{Lease, Sender};
use crate::base::body::Body;
use crate::base::executor::LocalExec;
use crate::net::gather::Gather;
use crate::upstream::connect::{ConnInfo, ConnectError, Connected};

/// Largest list of response headers accepted, in bytes, as HTTP/2 counts them.
const LARGEST_HEAD: u32 = 64 << 10;

/// A HTTP/2 connection with what is open on it.
pub(super) struct Multiplexed {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) info: Arc<ConnInfo>,
    active: Cell<u32>,
    requests: Cell<u32>,
    limit: Rc<Cell<usize>>,
    born: Instant,
    idle_since: Cell<Instant>,
}

impl HostPool {
    /// A connection with room for another stream.
    pub(super) fn ready_http2(self: &Rc<Self>) -> Option<Lease> {
        let mut connections = self.multiplexed.borrow_mut();
        connections.retain(|conn| !conn.sender.is_closed() && !self.is_used_up(conn));
        let conn = connections.iter().find(|conn| {
            let limit = conn.limit.get().min(self.cluster.http.max_concurrent_streams as usize);
            (conn.active.get() as usize) < limit
        })?;
        Some(Lease::new(self, Sender::Http2(Stream::begin(self, conn)), true))
    }

    fn is_used_up(&self, conn: &Multiplexed) -> bool {
        let http = &self.cluster.http;
        http.max_requests_per_connection.is_some_and(|max| conn.requests.get() >= max)
            || http.max_connection_duration.is_some_and(|max| conn.born.elapsed() >= max)
    }

    pub(super) async fn start_http2(self: &Rc<Self>, connected: Connected) -> Result<Lease, ConnectError> {
        let Connected { io, info, guard } = connected;
        let options = &self.cluster.http;
        let mut builder = http2::Builder::new(LocalExec);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(options.windows.0)
            .initial_connection_window_size(options.windows.1)
            .max_header_list_size(LARGEST_HEAD);
        if let Some((interval, timeout)) = options.keepalive {
            builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
        }
        let handshake = builder.handshake(TokioIo::new(Gather::new(io))).await;
        let (sender, connection) = handshake.map_err(|error| ConnectError::Failed(error.to_string()))?;
        self.cluster.stats.upstream_cx_http2_total().inc();
        self.opened();
        let limit = Rc::new(Cell::new(connection.current_max_send_streams().max(1)));
        let pool = Rc::downgrade(self);
        let seen = limit.clone();
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            let outcome = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                if polled.is_pending() {
                    seen.set(connection.current_max_send_streams());
                }
                polled
            })
            .await;
            tracing::trace!(?outcome, "upstream connection ended");
            drop(guard);
            if let Some(pool) = pool.upgrade() {
                pool.closed();
            }
        });
        let now = Instant::now();
        let conn = Rc::new(Multiplexed {
            sender,
            info,
            active: Cell::new(0),
            requests: Cell::new(0),
            limit,
            born: now,
            idle_since: Cell::new(now),
        });
        self.multiplexed.borrow_mut().push(conn.clone());
        let stream = Stream::begin(self, &conn);
        // There is room for more than this one.
        self.wake_all(&Ok(()));
        Ok(Lease::new(self, Sender::Http2(stream), false))
    }

    pub(super) fn sweep_http2(&self, now: Instant, retired: bool) {
        let timeout = self.cluster.http.idle_timeout;
        self.multiplexed.borrow_mut().retain(|conn| {
            let idle = conn.active.get() == 0;
            let late = idle && timeout.is_some_and(|t| now.duration_since(conn.idle_since.get()) >= t);
            let over = conn.sender.is_closed() || late || (retired && idle);
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
