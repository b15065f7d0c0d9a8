//! HTTP/1.1 connections: one request at a time, kept while idle.

use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::HostPool;
use super::lease::{Lease, Sender};
use crate::base::body::Body;
use crate::upstream::connect::{ConnInfo, ConnectError, Connected};

/// hyper's own limit of headers, as Envoy's.
const USUAL_HEADERS: usize = 100;
/// Largest response head accepted, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// A HTTP/1.1 connection with its history.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) info: Arc<ConnInfo>,
    pub(super) born: Instant,
    pub(super) requests: u32,
}

/// One that waits for its next request.
pub(super) struct Idle {
    conn: Http1,
    since: Instant,
}

impl HostPool {
    /// The connection that was used last and is still open.
    pub(super) fn ready_http1(self: &Rc<Self>) -> Option<Lease> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if !idle.conn.sender.is_closed() && idle.conn.sender.is_ready() {
                return Some(Lease::new(self, Sender::Http1(idle.conn), true));
            }
        }
    }

    pub(super) async fn start_http1(self: &Rc<Self>, connected: Connected) -> Result<Lease, ConnectError> {
        let Connected { io, info, guard } = connected;
        let mut builder = http1::Builder::new();
        builder.max_header_size(LARGEST_HEAD);
        // hyper has room for as many on its stack, and clears a table for each response when told any number.
        if self.cluster.http.max_headers != USUAL_HEADERS {
            builder.max_headers(self.cluster.http.max_headers);
        }
        let handshake = builder.handshake(TokioIo::new(io)).await;
        let (sender, connection) = handshake.map_err(|error| ConnectError::Failed(error.to_string()))?;
        self.cluster.stats.upstream_cx_http1_total().inc();
        self.opened();
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!(%error, "upstream connection ended");
            }
            drop(guard);
            if let Some(pool) = pool.upgrade() {
                pool.closed();
            }
        });
        let conn = Http1 { sender, info, born: Instant::now(), requests: 0 };
        Ok(Lease::new(self, Sender::Http1(conn), false))
    }

    /// Takes a connection back once it can take the next request; a spent or broken one is dropped.
    pub(super) fn give_back(self: &Rc<Self>, mut conn: Http1) {
        if conn.sender.is_closed() || self.is_spent(&conn) {
            return;
        }
        if conn.sender.is_ready() {
            return self.keep(conn);
        }
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            if conn.sender.ready().await.is_ok() {
                pool.keep(conn);
            }
        });
    }

    fn keep(&self, conn: Http1) {
        self.idle.borrow_mut().push(Idle { conn, since: Instant::now() });
        self.wake_one();
    }

    fn is_spent(&self, conn: &Http1) -> bool {
        let http = &self.cluster.http;
        let by_count = http.max_requests_per_connection.is_some_and(|max| conn.requests >= max);
        if by_count {
            self.cluster.stats.upstream_cx_max_requests().inc();
        }
        let by_age = http.max_connection_duration.is_some_and(|max| conn.born.elapsed() >= max);
        if by_age {
            self.cluster.stats.upstream_cx_max_duration_reached().inc();
        }
        by_count || by_age
    }

    pub(super) fn sweep_http1(&self, now: Instant, retired: bool) {
        let timeout = self.cluster.http.idle_timeout;
        self.idle.borrow_mut().retain(|idle| {
            let late = timeout.is_some_and(|timeout| now.duration_since(idle.since) >= timeout);
            if late {
                self.cluster.stats.upstream_cx_idle_timeout().inc();
            }
            !late && !retired && !idle.conn.sender.is_closed()
        });
    }
}
