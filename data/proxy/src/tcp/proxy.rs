//! `envoy.filters.network.tcp_proxy`: one connection in, one connection out.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use xxhash_rust::xxh64::xxh64;

use super::Network;
use crate::base::drain::Drain;
use crate::base::slot::{Slot, Slots};
use crate::net::copy::{Progress, both};
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::istio::TcpReport;
use crate::telemetry::stats::tables::TcpStats;
use crate::telemetry::{ConnectionInfo, Flags, LogContext, RequestInfo};
use crate::upstream::balance::Pick;
use crate::upstream::balance::schedule::Schedule;
use crate::upstream::cluster::Discovery;
use crate::upstream::connect::{ConnectError, Connected, Overrides, connect};
use crate::upstream::pool::Pools;
use crate::upstream::{Cluster, Host};

/// How often a session's bytes are reported to the metrics, as Istio does.
const REPORT: Duration = Duration::from_secs(5);

/// A compiled TCP proxy.
pub struct TcpProxy {
    /// Statistics.
    pub stats: TcpStats,
    /// Where connections go.
    pub target: Target,
    /// All clusters, for `sni_cluster`.
    pub clusters: Arc<Slots<Cluster>>,
    /// Between bytes.
    pub idle_timeout: Option<Duration>,
    /// For a connection, however busy.
    pub max_duration: Option<Duration>,
    /// Hosts tried before giving up.
    pub attempts: u32,
    /// Consistent hashing by the client's address.
    pub hash_source: bool,
    /// Access logs.
    pub access_logs: AccessLogs,
}

/// Which cluster.
pub enum Target {
    /// This one.
    One(Arc<Slot<Cluster>>),
    /// By weight.
    Weighted {
        /// The choices.
        clusters: Vec<Arc<Slot<Cluster>>>,
        /// Their turns.
        turns: Schedule,
        /// Whose turn it is.
        next: AtomicUsize,
    },
}

impl Target {
    fn choose(&self) -> Option<Arc<Cluster>> {
        match self {
            Self::One(slot) => slot.get(),
            Self::Weighted { clusters, turns, next } => {
                clusters.get(turns.at(next.fetch_add(1, Ordering::Relaxed)))?.get()
            }
        }
    }
}

/// Serves a connection until it ends.
pub async fn serve<S>(
    mut io: S,
    proxy: Arc<TcpProxy>,
    network: &Network,
    connection: Arc<ConnectionInfo>,
    (pools, drain): (Rc<Pools>, Drain),
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    proxy.stats.downstream_cx_total().inc();
    let mut session = Session { info: RequestInfo::new(connection, None), reports: Vec::new(), network };
    session.reports.resize_with(network.stats.len(), TcpReport::default);
    match proxy.open(network, &mut session.info, &pools).await {
        Ok(mut upstream) => {
            let progress = Progress::default();
            tokio::select! {
                copied = both(&mut io, &mut upstream.io, &progress) => {
                    if copied.is_err() {
                        session.info.connection_termination = Some("connection reset".into());
                    }
                }
                () = progress.idle(proxy.idle_timeout) => {
                    proxy.stats.idle_timeout().inc();
                    session.info.flags.set(Flags::STREAM_IDLE_TIMEOUT);
                }
                () = proxy.too_long() => {
                    proxy.stats.max_downstream_connection_duration().inc();
                    session.info.flags.set(Flags::DURATION_TIMEOUT);
                }
                () = drain.closing() => {}
                () = session.reporting(&progress) => {}
            }
            session.take(&progress);
            proxy.stats.downstream_cx_rx_bytes_total().add(progress.received.get());
            proxy.stats.downstream_cx_tx_bytes_total().add(progress.sent.get());
        }
        Err(flag) => session.info.flags.set(flag),
    }
    session.close(&proxy);
}

/// One TCP session and what was reported of it.
struct Session<'a> {
    info: RequestInfo,
    reports: Vec<TcpReport>,
    network: &'a Network,
}

impl Session<'_> {
    /// Reports what has passed, again and again; never ends.
    async fn reporting(&mut self, progress: &Progress) {
        if self.reports.is_empty() {
            return std::future::pending().await;
        }
        loop {
            self.take(progress);
            for (report, stats) in self.reports.iter_mut().zip(&self.network.stats) {
                report.progress(&stats.0, &self.info);
            }
            tokio::time::sleep(REPORT).await;
        }
    }

    fn take(&mut self, progress: &Progress) {
        let bytes = &mut self.info.bytes;
        (bytes.received, bytes.sent) = (progress.received.get(), progress.sent.get());
        (bytes.wire_received, bytes.wire_sent) = (bytes.received, bytes.sent);
    }

    fn close(mut self, proxy: &TcpProxy) {
        self.info.timings.response_end = Some(tokio::time::Instant::now());
        for (report, stats) in self.reports.iter_mut().zip(&self.network.stats) {
            report.close(&stats.0, &self.info);
        }
        proxy.access_logs.log(&LogContext::tcp(&self.info));
    }
}

impl TcpProxy {
    async fn too_long(&self) {
        match self.max_duration {
            Some(max) => tokio::time::sleep(max).await,
            None => std::future::pending().await,
        }
    }

    /// Opens the upstream connection; an error is the flag that says why not.
    async fn open(
        &self,
        network: &Network,
        info: &mut RequestInfo,
        pools: &Pools,
    ) -> Result<Connected, Flags> {
        let by_name = match (&info.connection.requested_server_name, network.sni_cluster) {
            (Some(name), true) => self.clusters.existing(name).and_then(|slot| slot.get()),
            _ => None,
        };
        let cluster = by_name.or_else(|| self.target.choose()).ok_or_else(|| {
            self.stats.downstream_cx_no_route().inc();
            Flags::NO_CLUSTER_FOUND
        })?;
        info.upstream.cluster = Some(cluster.tags.clone());
        let mut avoid = Vec::new();
        loop {
            info.upstream.attempts += 1;
            let host = self.host(&cluster, info, pools, &avoid).ok_or(Flags::NO_HEALTHY_UPSTREAM)?;
            info.upstream.host = Some(host.address.clone());
            info.upstream.peer.clone_from(&host.peer);
            let Some(permit) = cluster.breakers(false).connections.take() else {
                cluster.stats.upstream_cx_overflow().inc();
                return Err(Flags::UPSTREAM_OVERFLOW);
            };
            let overrides = Overrides { source: info.connection.source, ..Overrides::default() };
            match connect(&cluster, &host, &overrides, permit).await {
                Ok(connected) => {
                    info.upstream.local.clone_from(&connected.info.local);
                    info.upstream.tls.clone_from(&connected.info.tls);
                    info.upstream.transport_failure = None;
                    info.upstream.connect_duration = Some(connected.info.took);
                    return Ok(connected);
                }
                Err(error) => {
                    let reason = match &error {
                        ConnectError::Timeout => "connection timeout".into(),
                        other => other.to_string().into(),
                    };
                    info.upstream.transport_failure = Some(reason);
                    if info.upstream.attempts >= self.attempts {
                        cluster.stats.upstream_cx_connect_attempts_exceeded().inc();
                        return Err(Flags::UPSTREAM_CONNECTION_FAILURE | Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
                    }
                    avoid.push(host.id);
                }
            }
        }
    }

    fn host(&self, cluster: &Cluster, info: &RequestInfo, pools: &Pools, avoid: &[u64]) -> Option<Arc<Host>> {
        if let Discovery::OriginalDst { port, .. } = &cluster.discovery {
            let mut address = info.connection.local.ip()?;
            address.set_port(port.unwrap_or(address.port()));
            return Some(pools.original_dst(cluster, address));
        }
        let source = info.connection.remote.ip().filter(|_| self.hash_source);
        let hash = source.map(|addr| xxh64(addr.ip().to_string().as_bytes(), 0));
        cluster.pick(Pick { hash, random: fastrand::u64(..), avoid })
    }
}
