//! A compiled cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use http::header::HeaderName;
use meltemi_proto::envoy::config::core::v3 as core;

use super::balance::{Balance, Pick, Picker};
use super::breaker::Breakers;
use super::endpoints::Assignment;
use super::hold::Hold;
use super::host::{Health, Host, HostSet, carry_over};
use super::resolve::DnsTarget;
use super::transport::{Transport, Transports};
use crate::net::socket::DialOptions;
use crate::telemetry::ClusterTags;
use crate::telemetry::stats::Group;
use crate::telemetry::stats::tables::ClusterStats;

/// How a cluster learns its hosts.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// They are in the cluster.
    Static,
    /// From EDS, under this name.
    Eds {
        /// `service_name`, or the cluster's name.
        service: Arc<str>,
    },
    /// Every address a name resolves to is a host.
    StrictDns(DnsTarget),
    /// One host: the first address a name resolves to.
    LogicalDns(DnsTarget),
    /// Where the connection was going before it was redirected.
    OriginalDst {
        /// A request header that names the address instead.
        header: Option<HeaderName>,
        /// `upstream_port_override`.
        port: Option<u16>,
    },
}

/// The HTTP protocol used with the cluster's hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// What the client speaks.
    Downstream,
    /// What ALPN negotiates.
    Auto,
}

/// HTTP options of a cluster (`HttpProtocolOptions`).
#[derive(Debug, Clone, PartialEq)]
pub struct HttpOptions {
    /// Which protocol.
    pub protocol: UpstreamProtocol,
    /// Idle connections are closed after this (Envoy's default: 1 h).
    pub idle_timeout: Option<Duration>,
    /// A connection is closed after this long.
    pub max_connection_duration: Option<Duration>,
    /// A connection is closed after this many requests.
    pub max_requests_per_connection: Option<u32>,
    /// A response may take at most this long.
    pub max_stream_duration: Option<Duration>,
    /// Streams a HTTP/2 connection may carry at once.
    pub max_concurrent_streams: u32,
    /// HTTP/2 flow-control windows of a stream and of a connection, in bytes.
    pub windows: (u32, u32),
    /// HTTP/2 PING interval and time-out.
    pub keepalive: Option<(Duration, Duration)>,
    /// Number of response headers accepted.
    pub max_headers: usize,
    /// The server name of a handshake is the host of the request it is for.
    pub auto_sni: bool,
    /// The host's certificate must be for that name.
    pub auto_san_validation: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            protocol: UpstreamProtocol::Http1,
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_requests_per_connection: None,
            max_stream_duration: None,
            max_concurrent_streams: 2_147_483_647,
            windows: (16 << 20, 24 << 20),
            keepalive: None,
            max_headers: 100,
            auto_sni: false,
            auto_san_validation: false,
        }
    }
}

/// A cluster: whom to reach and how. Immutable but for its hosts and counters.
#[derive(Debug)]
pub struct Cluster {
    /// Unique in the process: an updated cluster is another one.
    pub uid: u64,
    /// Its name.
    pub name: Arc<str>,
    /// What logs and metrics say of it.
    pub tags: Arc<ClusterTags>,
    /// Whether it was added by CDS.
    pub from_api: bool,
    /// How it learns its hosts.
    pub discovery: Discovery,
    /// Hosts given in the cluster itself.
    pub inline: Assignment,
    /// The hosts now.
    pub hosts: ArcSwap<HostSet>,
    /// How one is chosen.
    pub balance: Balance,
    /// For a TCP connection and its TLS handshake.
    pub connect_timeout: Duration,
    /// Socket options.
    pub dial: DialOptions,
    /// Limits by routing priority (default, high).
    pub breakers: [Breakers; 2],
    /// Requests that wait for its only hosts to come back.
    pub hold: Hold,
    /// Transport sockets.
    pub transports: Transports,
    /// HTTP options.
    pub http: HttpOptions,
    /// Cluster metadata, as sent.
    pub metadata: Option<core::Metadata>,
    /// Statistics.
    pub stats: ClusterStats,
    /// `upstream_rq_<code>`.
    pub codes: Arc<Group>,
    /// `retry.upstream_rq_<code>`: answers that were not passed on because the request was sent again.
    pub retried_codes: Arc<Group>,
    /// Replaced or removed: its idle connections are closed.
    pub retired: AtomicBool,
}

/// A process-wide unique number for a cluster.
pub(super) fn next_uid() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Cluster {
    /// Replaces the hosts; ids and counts of those that stay are kept.
    pub fn set_hosts(&self, assignment: Assignment) {
        let before = self.hosts.load();

        let overprovisioning = assignment.overprovisioning.unwrap_or(self.balance.overprovisioning);
        let balance = Balance { overprovisioning, ..self.balance.clone() };
        let hosts = carry_over(&before.hosts, assignment.hosts(&self.transports));
        let weights = assignment.locality_weights;
        let weight_of =
            |host: &Host| weights.get(&(host.priority, host.locality.as_ref().clone())).copied().unwrap_or(0);
        let picker = Picker::build(&hosts, &balance, &weight_of);
        let healthy = hosts.iter().filter(|h| h.health == Health::Healthy).count();
        let degraded = hosts.iter().filter(|h| h.health == Health::Degraded).count();
        self.stats.membership_change().inc();
        self.stats.membership_total().set(hosts.len() as u64);
        self.stats.membership_healthy().set(healthy as u64);
        self.stats.membership_degraded().set(degraded as u64);
        self.hosts.store(Arc::new(HostSet { hosts, picker }));
    }

    /// Whether every secret its handshakes need is there.
    pub fn has_secrets(&self) -> bool {
        self.transports.iter().all(|transport| match transport {
            Transport::Raw => true,
            Transport::Tls(context) => context.is_ready(),
        })
    }

    /// Chooses a host for a request; `None` when there is none.
    pub fn pick(&self, pick: Pick<'_>) -> Option<Arc<Host>> {
        self.hosts.load().picker.pick(pick)
    }

    /// A host of an `ORIGINAL_DST` cluster: the address itself.
    pub fn original_dst_host(&self, address: SocketAddr) -> Host {
        let mut host = Host::new(crate::base::address::Address::Ip(address));
        host.transport = self.transports.default_index();
        host
    }

    /// Counts a response by its status.
    pub fn count_response(&self, status: StatusCode) {
        let code = usize::from(status.as_u16());
        self.stats.upstream_rq_completed().inc();
        match code {
            0..200 => self.stats.upstream_rq_1xx().inc(),
            200..300 => self.stats.upstream_rq_2xx().inc(),
            300..400 => self.stats.upstream_rq_3xx().inc(),
            400..500 => self.stats.upstream_rq_4xx().inc(),
            _ => self.stats.upstream_rq_5xx().inc(),
        }
        self.codes.counter(code.saturating_sub(100)).inc();
    }

    /// Counts an answer in whose place another was asked for.
    pub fn count_retried(&self, status: StatusCode) {
        self.retried_codes.counter(usize::from(status.as_u16()).saturating_sub(100)).inc();
    }

    /// The limits for a routing priority.
    pub fn breakers(&self, high: bool) -> &Breakers {
        &self.breakers[usize::from(high)]
    }
}
