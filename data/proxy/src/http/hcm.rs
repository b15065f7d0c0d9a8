//! A compiled HTTP connection manager.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::path::PathOptions;
use super::xfcc::ForwardClientCert;
use crate::base::slot::Slot;
use crate::filters::Filter;
use crate::route::RouteTable;
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::stats::tables::HttpStats;

/// Which protocol clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Found out from ALPN or the first bytes.
    Auto,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What happens to the `server` header.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerHeader {
    /// Ours replaces the upstream's.
    Overwrite(HeaderValue),
    /// Ours, unless the upstream sent one.
    AppendIfAbsent(HeaderValue),
    /// The upstream's.
    PassThrough,
}

/// What happens to headers with underscores in their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscores {
    /// Nothing.
    Allow,
    /// The request is refused.
    Reject,
    /// The header is dropped.
    Drop,
}

/// How far the client's address and its headers are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// This is an edge: the connection's own address counts.
    pub use_remote_address: bool,
    /// Entries of `x-forwarded-for` from the right that trusted proxies added.
    pub hops: u32,
    /// `x-forwarded-for` is not appended to.
    pub skip_append: bool,
    /// Addresses whose requests may steer us.
    pub internal: Vec<ipnet::IpNet>,
}

/// `x-request-id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Made when there is none.
    pub generate: bool,
    /// One from outside is kept.
    pub preserve_external: bool,
    /// Sent back to the client.
    pub in_response: bool,
}

/// Time-outs; `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Between events of a stream.
    pub stream_idle: Option<Duration>,
    /// For a whole request to arrive.
    pub request: Option<Duration>,
    /// For a request's head to arrive.
    pub headers: Option<Duration>,
    /// For a connection without requests.
    pub idle: Option<Duration>,
    /// For a connection, however busy.
    pub max_connection: Option<Duration>,
    /// For a stream, however busy.
    pub max_stream: Option<Duration>,
    /// Between a graceful GOAWAY and the end of the connection.
    pub drain: Duration,
}

/// Limits of what clients may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Requests on one connection.
    pub requests: Option<u32>,
    /// Streams at once on a HTTP/2 connection.
    pub streams: u32,
    /// HTTP/2 flow-control windows of a stream and a connection, in bytes.
    pub windows: (u32, u32),
    /// Bytes kept of a request for retries and mirrors.
    pub buffer: usize,
    /// HTTP/2 PING interval and time-out.
    pub keepalive: Option<(Duration, Duration)>,
}

/// Where routes come from.
#[derive(Debug)]
pub struct Routes {
    /// The cell of the table.
    pub table: Arc<Slot<RouteTable>>,
    /// It is delivered by RDS.
    pub discovered: bool,
}

/// A HTTP connection manager.
pub struct Hcm {
    /// Clients are proxies of the mesh and not applications.
    pub inbound: bool,
    /// Statistics.
    pub stats: HttpStats,
    /// Protocol.
    pub codec: Codec,
    /// Filters, the router last.
    pub filters: Vec<Filter>,
    /// Routes.
    pub routes: Routes,
    /// `server`.
    pub server: ServerHeader,
    /// `via`.
    pub via: Option<HeaderValue>,
    /// Trust in clients.
    pub trust: Trust,
    /// Request ids.
    pub request_id: RequestId,
    /// Client certificates in headers.
    pub client_cert: ForwardClientCert,
    /// Normalization of paths.
    pub path: PathOptions,
    /// The port is taken off the authority: always, or when it is the listener's.
    pub strip_port: StripPort,
    /// A dot at the end of the host is taken off.
    pub strip_trailing_dot: bool,
    /// Underscores in header names.
    pub underscores: Underscores,
    /// The host of HTTP/1.0 requests that name none, empty when they must name one; `None`: HTTP/1.0 is not accepted.
    pub http10_host: Option<String>,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// Limits.
    pub limits: Limits,
    /// Upgrades that are allowed.
    pub upgrades: Vec<(String, bool)>,
    /// Access logs.
    pub access_logs: AccessLogs,
    /// The router adds no `x-envoy-*` headers.
    pub suppress_envoy_headers: bool,
}

/// When the port is taken off the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripPort {
    /// Never.
    No,
    /// When it is the listener's own.
    Matching,
    /// Always.
    Any,
}

impl std::fmt::Debug for Hcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hcm").field("routes", &self.routes.table.name()).finish_non_exhaustive()
    }
}

impl Hcm {
    /// Whether its routes have arrived.
    pub fn is_ready(&self) -> bool {
        self.routes.table.peek().is_some()
    }

    /// Whether an upgrade is allowed by the manager itself.
    pub fn upgrade(&self, kind: &str) -> bool {
        self.upgrades.iter().any(|(name, enabled)| *enabled && name.eq_ignore_ascii_case(kind))
    }
}
