//! What is known of one request or TCP session, gathered while it lives and read when it is logged and counted.

mod cluster;
mod number;
mod tls;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use tokio::time::Instant;

use super::flags::Flags;
use super::istio::peer::Peer;
use crate::base::address::Address;
use crate::base::head::RequestHead;
use crate::net::socket::OriginalSource;
pub use cluster::{ClusterTags, ServiceTags};
pub use number::unique_number;
pub use tls::{CertificateInfo, TlsInfo};

/// The protocol spoken, with the names that Envoy logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
    /// `HTTP/2`
    Http2,
    /// `HTTP/3`
    Http3,
}

impl Protocol {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Http3 => "HTTP/3",
        }
    }
}

impl From<http::Version> for Protocol {
    fn from(version: http::Version) -> Self {
        match version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Protocol::Http10,
            http::Version::HTTP_2 => Protocol::Http2,
            http::Version::HTTP_3 => Protocol::Http3,
            _ => Protocol::Http11,
        }
    }
}

/// What all requests of one downstream connection share. Made when its filter chain is chosen.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// A number that is unique in this process (`%CONNECTION_ID%`).
    pub id: u64,
    /// The address the client meant: the original destination where traffic is captured.
    pub local: Address,
    /// The address the connection was accepted on, before any original-destination lookup.
    pub direct_local: Address,
    /// The client's address, after PROXY protocol and the like.
    pub remote: Address,
    /// The address the socket came from.
    pub direct_remote: Address,
    /// The SNI the client sent.
    pub requested_server_name: Option<Arc<str>>,
    /// The handshake's result, when TLS was terminated here.
    pub tls: Option<Arc<TlsInfo>>,
    /// Why the TLS handshake failed, when it did.
    pub transport_failure: Option<Arc<str>>,
    /// The chosen filter chain's name.
    pub filter_chain: Option<Arc<str>>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// When the connection was accepted.
    pub start: Instant,
    /// In whose name upstream connections are opened; `None`: in ours.
    pub source: Option<OriginalSource>,
}

impl ConnectionInfo {
    /// A plain connection between two addresses.
    pub fn new(id: u64, local: Address, remote: Address) -> Self {
        ConnectionInfo {
            id,
            direct_local: local.clone(),
            local,
            direct_remote: remote.clone(),
            remote,
            requested_server_name: None,
            tls: None,
            transport_failure: None,
            filter_chain: None,
            listener: "".into(),
            start: Instant::now(),
            source: None,
        }
    }
}

/// Moments of a request, as far as they were reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// The last byte of the request was received.
    pub request_end: Option<Instant>,
    /// The first byte was sent upstream.
    pub upstream_request_start: Option<Instant>,
    /// The last byte was sent upstream.
    pub upstream_request_end: Option<Instant>,
    /// The first byte of the upstream's response was received.
    pub upstream_response_start: Option<Instant>,
    /// The last byte of the upstream's response was received.
    pub upstream_response_end: Option<Instant>,
    /// The first byte of the response was sent to the client.
    pub response_start: Option<Instant>,
    /// The last byte of the response was sent to the client.
    pub response_end: Option<Instant>,
}

/// Byte counts. *Body* counts payload as `%BYTES_RECEIVED%` does; *wire* adds header bytes and framing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteCounts {
    /// Request body bytes (TCP: bytes from the client).
    pub received: u64,
    /// Response body bytes (TCP: bytes to the client).
    pub sent: u64,
    /// Request bytes on the downstream wire.
    pub wire_received: u64,
    /// Response bytes on the downstream wire.
    pub wire_sent: u64,
    /// Response bytes on the upstream wire.
    pub upstream_wire_received: u64,
    /// Request bytes on the upstream wire.
    pub upstream_wire_sent: u64,
}

/// What is known of the upstream side of a request; the last attempt's values win.
#[derive(Clone, Debug, Default)]
pub struct UpstreamInfo {
    /// The chosen cluster.
    pub cluster: Option<Arc<ClusterTags>>,
    /// The chosen host's address.
    pub host: Option<Address>,
    /// Our end of the upstream connection.
    pub local: Option<Address>,
    /// The handshake's result, when TLS was originated.
    pub tls: Option<Arc<TlsInfo>>,
    /// Why the transport failed (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
    pub transport_failure: Option<Arc<str>>,
    /// The protocol spoken with the upstream.
    pub protocol: Option<Protocol>,
    /// Attempts begun, the first included (`%UPSTREAM_REQUEST_ATTEMPT_COUNT%`).
    pub attempts: u32,
    /// The peer's metadata: from its response headers, else from the endpoint's metadata.
    pub peer: Option<Arc<Peer>>,
    /// How long the connection took to become ready, when the request had to wait for a new one.
    pub connect_duration: Option<Duration>,
}

/// Values that filters leave for others, by filter name (`%DYNAMIC_METADATA(filter:key)%`).
pub type DynamicMetadata = BTreeMap<Arc<str>, serde_json::Map<String, serde_json::Value>>;

/// One request, or one TCP session (then without protocol and response code).
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// The connection it came on.
    pub connection: Arc<ConnectionInfo>,
    /// The client's address as trusted proxies tell it (`x-forwarded-for`); `None`: the connection's.
    pub client: Option<Address>,
    /// When the first byte arrived.
    pub start: Instant,
    /// The same moment on the wall clock.
    pub start_time: SystemTime,
    /// A number that is unique in this process (`%STREAM_ID%`).
    pub stream_id: u64,
    /// The downstream protocol; `None` for TCP.
    pub protocol: Option<Protocol>,
    /// Whether the request's content type is gRPC.
    pub grpc: bool,
    /// Whether a health-check filter answered (`not_health_check_filter`).
    pub health_check: bool,
    /// Response flags.
    pub flags: Flags,
    /// The HTTP status sent; `None` when none was sent.
    pub response_code: Option<u16>,
    /// `%RESPONSE_CODE_DETAILS%`, e.g. `via_upstream`, `route_not_found`.
    pub details: Option<Cow<'static, str>>,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    pub connection_termination: Option<Cow<'static, str>>,
    /// The matched route's name.
    pub route: Option<Arc<str>>,
    /// The matched virtual host's name.
    pub virtual_host: Option<Arc<str>>,
    /// The request's authenticated peer, if something other than the connection established it.
    pub downstream_peer: Option<Arc<Peer>>,
    /// The upstream side.
    pub upstream: UpstreamInfo,
    /// Byte counts.
    pub bytes: ByteCounts,
    /// Moments.
    pub timings: Timings,
    /// gRPC messages received from and sent to the client.
    pub grpc_messages: (u64, u64),
    /// What filters left for others; empty costs nothing.
    pub metadata: Option<Box<DynamicMetadata>>,
    /// `%FILTER_STATE(key:PLAIN)%` values.
    pub filter_state: Option<Box<BTreeMap<Arc<str>, serde_json::Value>>>,
}

impl RequestInfo {
    /// A request that begins now on `connection`.
    pub fn new(connection: Arc<ConnectionInfo>, protocol: Option<Protocol>) -> Self {
        RequestInfo {
            connection,
            client: None,
            start: Instant::now(),
            start_time: SystemTime::now(),
            stream_id: 0,
            protocol,
            grpc: false,
            health_check: false,
            flags: Flags::NONE,
            response_code: None,
            details: None,
            connection_termination: None,
            route: None,
            virtual_host: None,
            downstream_peer: None,
            upstream: UpstreamInfo::default(),
            bytes: ByteCounts::default(),
            timings: Timings::default(),
            grpc_messages: (0, 0),
            metadata: None,
            filter_state: None,
        }
    }

    /// The client's address, as far as it is trusted.
    pub fn remote(&self) -> &Address {
        self.client.as_ref().unwrap_or(&self.connection.remote)
    }

    /// Leaves a value for other filters and for logs.
    pub fn set_metadata(&mut self, filter: &str, key: &str, value: serde_json::Value) {
        let all = self.metadata.get_or_insert_with(Default::default);
        all.entry(filter.into()).or_default().insert(key.to_owned(), value);
    }

    /// The time from the request's first byte to the response's last one, or to now while it runs.
    pub fn duration(&self) -> Duration {
        self.timings.response_end.unwrap_or_else(Instant::now).saturating_duration_since(self.start)
    }

    /// The client's metadata, from the request's own headers or from its connection.
    pub fn source_peer(&self) -> Option<&Arc<Peer>> {
        self.downstream_peer.as_ref()
    }
}

/// All that a log line or metric may be made of.
#[derive(Clone, Copy, Debug)]
pub struct LogContext<'a> {
    /// The request.
    pub info: &'a RequestInfo,
    /// Its head as it was routed; `None` for TCP or when none could be read.
    pub request: Option<&'a RequestHead>,
    /// The response's headers.
    pub response: Option<&'a HeaderMap>,
    /// The response's trailers.
    pub trailers: Option<&'a HeaderMap>,
}

impl<'a> LogContext<'a> {
    /// A TCP session.
    pub fn tcp(info: &'a RequestInfo) -> Self {
        LogContext { info, request: None, response: None, trailers: None }
    }

    /// The gRPC status: from the trailers, else from a trailers-only response.
    pub fn grpc_status(&self) -> Option<u32> {
        let read = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.trim().parse().ok();
        self.trailers.and_then(read).or_else(|| self.response.and_then(read))
    }
}
