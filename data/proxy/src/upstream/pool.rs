//! HTTP connection pools. Each worker has its own; nothing here is shared between threads.

mod http1;
mod http2;
mod lease;
mod wait;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::http1::Idle;
use self::http2::Multiplexed;
pub use self::lease::{Lease, SendFailure};
use self::wait::Woken;
use super::cluster::UpstreamProtocol;
use super::connect::{ConnectError, Overrides, connect};
use super::{Cluster, Host};
use crate::telemetry::stats::tables::ClusterStats;

/// The protocol of a pool, once a request's own protocol is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whatever ALPN negotiates; HTTP/1.1 when nothing.
    Auto,
}

impl Wire {
    /// The protocol for a request that came as HTTP/2 or not.
    pub fn choose(protocol: UpstreamProtocol, downstream_http2: bool) -> Self {
        match protocol {
            UpstreamProtocol::Http1 => Self::Http1,
            UpstreamProtocol::Http2 => Self::Http2,
            UpstreamProtocol::Downstream if downstream_http2 => Self::Http2,
            UpstreamProtocol::Downstream => Self::Http1,
            UpstreamProtocol::Auto => Self::Auto,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    cluster: u64,
    host: u64,
    wire: Wire,
    overrides: Overrides,
}

/// The pools of one worker.
#[derive(Default)]
pub struct Pools {
    pools: RefCell<HashMap<Key, Rc<HostPool>>>,
    original: RefCell<HashMap<(u64, SocketAddr), Arc<Host>>>,
}

impl Pools {
    /// The pool for a host.
    pub fn get(
        &self,
        cluster: &Arc<Cluster>,
        host: &Arc<Host>,
        wire: Wire,
        overrides: &Overrides,
    ) -> Rc<HostPool> {
        let key = Key { cluster: cluster.uid, host: host.id, wire, overrides: overrides.clone() };
        let mut pools = self.pools.borrow_mut();
        pools.entry(key).or_insert_with_key(|key| Rc::new(HostPool::new(cluster, host, key))).clone()
    }

    /// The host an `ORIGINAL_DST` cluster has for an address; kept so that its connections are found again.
    pub fn original_dst(&self, cluster: &Cluster, address: SocketAddr) -> Arc<Host> {
        let mut hosts = self.original.borrow_mut();
        hosts
            .entry((cluster.uid, address))
            .or_insert_with(|| Arc::new(cluster.original_dst_host(address)))
            .clone()
    }

    /// Closes what has been idle for too long or has lost its cluster or host. Called every second.
    pub fn sweep(&self) {
        let mut pools = self.pools.borrow_mut();
        pools.retain(|_, pool| pool.sweep());
        let used: hashbrown::HashSet<u64> = pools.keys().map(|key| key.host).collect();
        self.original.borrow_mut().retain(|_, host| used.contains(&host.id) || Arc::strong_count(host) > 1);
    }

    /// How many pools there are.
    pub fn len(&self) -> usize {
        self.pools.borrow().len()
    }

    /// Whether there is no pool.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The connections to one host with one protocol and one kind of handshake.
pub struct HostPool {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    wire: Wire,
    overrides: Overrides,
    idle: RefCell<Vec<Idle>>,
    multiplexed: RefCell<Vec<Rc<Multiplexed>>>,
    /// A HTTP/2 connection is being opened; others wait for it instead of opening their own.
    opening: Cell<bool>,
    waiters: RefCell<VecDeque<oneshot::Sender<Woken>>>,
    open: Cell<usize>,
}

impl HostPool {
    fn new(cluster: &Arc<Cluster>, host: &Arc<Host>, key: &Key) -> Self {
        Self {
            cluster: cluster.clone(),
            host: host.clone(),
            wire: key.wire,
            overrides: key.overrides.clone(),
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            opening: Cell::new(false),
            waiters: RefCell::default(),
            open: Cell::new(0),
        }
    }

    /// A connection that can take a request now, or as soon as one is open.
    pub async fn acquire(self: &Rc<Self>, high_priority: bool) -> Result<Lease, ConnectError> {
        if let Some(lease) = self.ready() {
            return Ok(lease);
        }
        let breakers = self.cluster.breakers(high_priority);
        let Some(_pending) = breakers.pending.take() else {
            self.cluster.stats.upstream_rq_pending_overflow().inc();
            return Err(ConnectError::Overflow);
        };
        let _gauge = Pending::begin(&self.cluster.stats);
        loop {
            if self.opening.get() {
                self.wait().await?;
            } else if let Some(permit) = breakers.connections.take() {
                return self.open(permit).await;
            } else {
                self.cluster.stats.upstream_cx_overflow().inc();
                if self.open.get() == 0 {
                    return self.open(breakers.connections.take_anyway()).await;
                }
                self.wait().await?;
            }
            if let Some(lease) = self.ready() {
                return Ok(lease);
            }
        }
    }

    /// A connection of its own, for a request that must not meet a stale one.
    pub async fn acquire_fresh(self: &Rc<Self>, high_priority: bool) -> Result<Lease, ConnectError> {
        match self.cluster.breakers(high_priority).connections.take() {
            Some(permit) => self.open(permit).await,
            None => Err(ConnectError::Overflow),
        }
    }

    fn ready(self: &Rc<Self>) -> Option<Lease> {
        self.ready_http2().or_else(|| self.ready_http1())
    }

    async fn open(self: &Rc<Self>, permit: super::breaker::Permit) -> Result<Lease, ConnectError> {
        let _opening = (self.wire == Wire::Http2).then(|| Opening::begin(self));
        let opened = self.dial(permit).await;
        if let Err(error) = &opened
            && self.wire == Wire::Http2
            && self.open.get() == 0
        {
            // Who waited for this connection has waited once; to dial again for each in turn would take for ever.
            self.wake_all(&Err(error.clone()));
        }
        opened
    }

    async fn dial(self: &Rc<Self>, permit: super::breaker::Permit) -> Result<Lease, ConnectError> {
        let connected = connect(&self.cluster, &self.host, &self.overrides, permit).await?;
        let http2 = match self.wire {
            Wire::Http1 => false,
            Wire::Http2 => true,
            Wire::Auto => connected.info.tls.as_ref().and_then(|tls| tls.alpn.as_deref()) == Some("h2"),
        };
        if http2 { self.start_http2(connected).await } else { Ok(self.start_http1(connected)) }
    }

    /// Drops what is too old; false when the pool itself can go.
    fn sweep(self: &Rc<Self>) -> bool {
        let now = Instant::now();
        let retired =
            self.cluster.retired.load(Ordering::Relaxed) || self.host.state.retired.load(Ordering::Relaxed);
        self.sweep_http1(now, retired);
        self.sweep_http2(now, retired);
        let in_use = Rc::strong_count(self) > 1 || self.open.get() > 0;
        in_use || !(self.idle.borrow().is_empty() && self.multiplexed.borrow().is_empty())
    }

    fn opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.wake_one();
    }
}

/// Marks that a shared connection is being opened, until it is or the attempt is given up.
struct Opening(Rc<HostPool>);

impl Opening {
    fn begin(pool: &Rc<HostPool>) -> Self {
        pool.opening.set(true);
        Self(pool.clone())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.wake_all(&Ok(()));
    }
}

/// Counts a request that waits for a connection.
struct Pending<'a>(&'a ClusterStats);

impl<'a> Pending<'a> {
    fn begin(stats: &'a ClusterStats) -> Self {
        stats.upstream_rq_pending_total().inc();
        stats.upstream_rq_pending_active().inc();
        Self(stats)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.upstream_rq_pending_active().dec();
    }
}

#[cfg(test)]
mod tests;
