//! A client's HTTP connection, as its requests see it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::hcm::Hcm;
use crate::base::drain::Drain;
use crate::telemetry::ConnectionInfo;
use crate::upstream::pool::Pools;

/// One connection.
pub struct Connection {
    /// Its connection manager.
    pub hcm: Arc<Hcm>,
    /// What all its requests share.
    pub info: Arc<ConnectionInfo>,
    /// The worker's upstream connections.
    pub pools: Rc<Pools>,
    /// Raised when the connection should end.
    pub drain: Drain,
    /// The protocol is HTTP/2.
    pub http2: bool,
    requests: Cell<u32>,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
    changed: Notify,
}

impl Connection {
    /// A connection whose protocol is known.
    pub fn new(
        hcm: Arc<Hcm>,
        info: Arc<ConnectionInfo>,
        pools: Rc<Pools>,
        drain: Drain,
        http2: bool,
    ) -> Rc<Self> {
        Rc::new(Self {
            hcm,
            info,
            pools,
            drain,
            http2,
            requests: Cell::new(0),
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            changed: Notify::new(),
        })
    }

    /// A request begins; it counts until the guard is dropped.
    pub fn begin(self: &Rc<Self>) -> Busy {
        self.requests.set(self.requests.get().saturating_add(1));
        self.active.set(self.active.get() + 1);
        Busy(self.clone())
    }

    /// Whether the response in hand should be the connection's last.
    pub fn should_close(&self) -> bool {
        self.drain.started() || self.is_used_up()
    }

    /// Whether the connection has served as many requests as it may.
    pub fn is_used_up(&self) -> bool {
        self.hcm.limits.requests.is_some_and(|max| self.requests.get() >= max)
    }

    /// Waits until the connection has to end, and says why.
    pub async fn end(&self) {
        tokio::select! {
            () = self.drained() => self.hcm.stats.downstream_cx_drain_close().inc(),
            () = self.idle() => self.hcm.stats.downstream_cx_idle_timeout().inc(),
            () = self.too_old() => self.hcm.stats.downstream_cx_max_duration_reached().inc(),
            () = self.used_up() => self.hcm.stats.downstream_cx_max_requests_reached().inc(),
        }
    }

    /// Once the codec was told to end: waits until it had its time and no request is left, whatever the client began to say;
    /// requests that are under way when draining is over have the drain time-out.
    pub async fn over(&self) {
        loop {
            tokio::select! {
                () = self.quiet() => {}
                () = self.drain.closing() => {}
            }
            tokio::time::sleep(self.hcm.timeouts.drain).await;
            if self.active.get() == 0 || self.drain.closed() {
                return;
            }
        }
    }

    async fn quiet(&self) {
        while self.active.get() > 0 {
            self.changed.notified().await;
        }
    }

    /// HTTP/2 can be told at once; an idle HTTP/1.1 client may be sending a request at this very moment.
    async fn drained(&self) {
        if self.http2 { self.drain.wait().await } else { self.drain.closing().await }
    }

    async fn idle(&self) {
        let Some(timeout) = self.hcm.timeouts.idle else { return std::future::pending().await };
        loop {
            if self.active.get() > 0 {
                self.changed.notified().await;
                continue;
            }
            let at = self.idle_since.get() + timeout;
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }

    async fn too_old(&self) {
        match self.hcm.timeouts.max_connection {
            Some(max) => tokio::time::sleep(max).await,
            None => std::future::pending().await,
        }
    }

    async fn used_up(&self) {
        // HTTP/1 says so in its last response.
        if !self.http2 || self.hcm.limits.requests.is_none() {
            return std::future::pending().await;
        }
        while !self.is_used_up() {
            self.changed.notified().await;
        }
    }
}

/// A request that is under way on a connection.
pub struct Busy(Rc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
        self.0.changed.notify_waiters();
    }
}
