//! Opening a connection to a host: TCP, then TLS where the host's transport socket says so.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::breaker::Permit;
use super::transport::Transport;
use super::{Cluster, Host};
use crate::base::address::Address;
use crate::net::socket::{OriginalSource, dial};
use crate::telemetry::TlsInfo;
use crate::telemetry::stats::tables::ClusterStats;
pub use crate::tls::client::TlsOverrides;
use crate::tls::maybe::Upstream;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectError {
    /// The connect time-out passed.
    Timeout,
    /// The network or the host refused.
    Failed(String),
    /// The TLS handshake failed.
    Tls(String),
    /// A circuit breaker refused.
    Overflow,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("connection timeout"),
            Self::Failed(reason) => write!(f, "delayed connect error: {reason}"),
            Self::Tls(reason) => write!(f, "TLS_error: {reason}"),
            Self::Overflow => f.write_str("overflow"),
        }
    }
}

/// What the downstream side asks of a connection, over what the cluster says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Overrides {
    /// Of the handshake.
    pub tls: TlsOverrides,
    /// In whose name; `None`: in ours.
    pub source: Option<OriginalSource>,
}

/// An open connection.
#[derive(Debug)]
pub struct Connected {
    /// Its bytes.
    pub io: Upstream,
    /// What is known of it.
    pub info: Arc<ConnInfo>,
    /// Counts it until dropped.
    pub guard: ConnGuard,
}

/// What is known of an upstream connection.
#[derive(Debug)]
pub struct ConnInfo {
    /// Our end.
    pub local: Option<Address>,
    /// The handshake's result.
    pub tls: Option<Arc<TlsInfo>>,
    /// How long it took to open.
    pub took: std::time::Duration,
}

/// Opens a connection within the cluster's connect time-out.
pub async fn connect(
    cluster: &Arc<Cluster>,
    host: &Arc<Host>,
    overrides: &Overrides,
    permit: Permit,
) -> Result<Connected, ConnectError> {
    let guard = ConnGuard::open(cluster, host, permit);
    let opening = open(cluster, host, overrides);
    let outcome = match tokio::time::timeout(cluster.connect_timeout, opening).await {
        Ok(outcome) => outcome,
        Err(_) => {
            cluster.stats.upstream_cx_connect_timeout().inc();
            Err(ConnectError::Timeout)
        }
    };
    match outcome {
        Ok((io, local, tls)) => {
            let took = guard.since.elapsed();
            cluster.stats.upstream_cx_connect_ms().record_duration(took);
            let info = ConnInfo { local, tls, took };
            Ok(Connected { io, info: Arc::new(info), guard })
        }
        Err(error) => {
            cluster.stats.upstream_cx_connect_fail().inc();
            host.state.connect_failures.fetch_add(1, Ordering::Relaxed);
            Err(error)
        }
    }
}

type Opened = (Upstream, Option<Address>, Option<Arc<TlsInfo>>);

async fn open(cluster: &Cluster, host: &Host, overrides: &Overrides) -> Result<Opened, ConnectError> {
    let stream = match overrides.source {
        None => dial(&host.address, &cluster.dial).await,
        Some(client) => dial(&host.address, &cluster.dial.in_name_of(client)).await,
    };
    let stream = stream.map_err(|error| ConnectError::Failed(reason(&error)))?;
    let local = stream.local_addr().map(Address::Ip);
    match cluster.transports.get(host.transport) {
        Transport::Raw => Ok((Upstream::Raw(stream), local, None)),
        Transport::Tls(context) => {
            let handshake = context.connect(stream, &host.hostname, &overrides.tls).await;
            match handshake {
                Ok((stream, info)) => {
                    cluster.stats.ssl_handshake().inc();
                    Ok((Upstream::Tls(Box::new(stream)), local, Some(Arc::new(info))))
                }
                Err(error) => {
                    cluster.stats.ssl_connection_error().inc();
                    Err(ConnectError::Tls(error))
                }
            }
        }
    }
}

/// The operating system's words without the error number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Counts an open connection until dropped.
#[derive(Debug)]
pub struct ConnGuard {
    stats: ClusterStats,
    host: Arc<Host>,
    since: Instant,
    _permit: Permit,
}

impl ConnGuard {
    fn open(cluster: &Cluster, host: &Arc<Host>, permit: Permit) -> Self {
        cluster.stats.upstream_cx_total().inc();
        cluster.stats.upstream_cx_active().inc();
        host.state.connections.fetch_add(1, Ordering::Relaxed);
        host.state.active_connections.fetch_add(1, Ordering::Relaxed);
        Self { stats: cluster.stats.clone(), host: host.clone(), since: Instant::now(), _permit: permit }
    }
}

impl Drop for ConnGuard {
    fn drop(&mut self) {
        self.stats.upstream_cx_active().dec();
        self.stats.upstream_cx_destroy().inc();
        self.stats.upstream_cx_length_ms().record_duration(self.since.elapsed());
        self.host.state.active_connections.fetch_sub(1, Ordering::Relaxed);
    }
}
