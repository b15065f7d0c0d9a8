//! HTTP/1.1 connections: one request at a time, kept while idle.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::time::Instant;

use super::HostPool;
use super::lease::Lease;
use crate::base::outgoing::Outgoing;
use crate::http1::Connection;
use crate::net::stream::Rewound;
use crate::tls::maybe::Upstream;
use crate::upstream::connect::{ConnGuard, ConnInfo, Connected};

/// A HTTP/1.1 connection with its history.
pub(super) struct Http1 {
    pub(super) connection: Rc<Connection>,
    pub(super) info: Arc<ConnInfo>,
    born: Instant,
    requests: u32,
    presence: Presence,
}

/// Counts a connection until dropped.
pub struct Presence {
    _guard: ConnGuard,
    pool: Weak<HostPool>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed();
        }
    }
}

impl Http1 {
    pub(super) fn begin(&mut self, request: Outgoing<'_>) -> Option<()> {
        self.requests = self.requests.saturating_add(1);
        self.connection.begin(request)
    }

    pub(super) fn into_raw(self) -> Option<(Rewound<Upstream>, Presence)> {
        Some((self.connection.into_raw()?, self.presence))
    }
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
            if idle.conn.connection.is_open() {
                return Some(Lease::http1(self, idle.conn, true));
            }
        }
    }

    pub(super) fn start_http1(self: &Rc<Self>, connected: Connected) -> Lease {
        let Connected { io, info, guard } = connected;
        self.cluster.stats.upstream_cx_http1_total().inc();
        self.opened();
        let conn = Http1 {
            connection: Connection::new(io, self.cluster.http.max_headers),
            info,
            born: Instant::now(),
            requests: 0,
            presence: Presence { _guard: guard, pool: Rc::downgrade(self) },
        };
        Lease::http1(self, conn, false)
    }

    /// Takes a connection back if it can take another request; a spent or broken one is dropped.
    pub(super) fn give_back(self: &Rc<Self>, conn: Http1) {
        if !conn.connection.is_reusable() || self.is_spent(&conn) {
            return conn.connection.close();
        }
        self.keep(conn);
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
            let stays = !late && !retired && idle.conn.connection.is_open();
            if !stays {
                idle.conn.connection.close();
            }
            stays
        });
    }
}
