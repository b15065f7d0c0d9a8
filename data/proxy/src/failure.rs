//! Everything that can go wrong with a request, and what it means: the one table from a failure to HTTP status, Envoy's
//! response flag and details, whose fault it was, and whether another attempt may be made.

use std::borrow::Cow;

use http::StatusCode;

use crate::route::retry::Broken;
use crate::telemetry::Flags;
use crate::upstream::connect::ConnectError;

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The head of the request is not acceptable.
    BadRequest(BadRequest),
    /// No route matched.
    RouteNotFound,
    /// The route's cluster does not exist; the route says with which status to answer.
    ClusterNotFound(StatusCode),
    /// The cluster has no host to pick.
    NoHealthyUpstream,
    /// There is no connection to the host.
    Connect(ConnectError),
    /// A circuit breaker refused the request itself.
    Overflow,
    /// The upstream reset the stream.
    UpstreamReset,
    /// The upstream refused the stream before looking at it.
    UpstreamRefused,
    /// The upstream closed the connection before it answered.
    UpstreamTerminated,
    /// The upstream's answer was not HTTP.
    UpstreamProtocol,
    /// The route's time-out passed.
    ResponseTimeout,
    /// The time-out of the last attempt passed.
    PerTryTimeout,
    /// The stream took longer than allowed.
    MaxStreamDuration,
    /// Nothing happened on the stream for too long.
    StreamIdle {
        /// The request had been received in full.
        request_complete: bool,
    },
    /// The client took too long to send the request.
    RequestTimeout,
    /// The client went away.
    DownstreamGone,
    /// The upgrade is not allowed here.
    UpgradeRefused,
    /// A configured fault aborts the request.
    FaultInjected(StatusCode),
}

/// Why a request's head is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    /// No `:authority`.
    MissingHost,
    /// The path cannot be normalized.
    Path,
    /// A header name holds an underscore.
    Underscore,
    /// The body has a transfer coding besides `chunked`.
    TransferEncoding,
    /// HTTP/1.0 or older, which is not accepted here.
    OldVersion,
    /// Path or authority is not what HTTP allows.
    Malformed,
}

/// Who caused a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The client.
    Downstream,
    /// The configuration, or a limit in it.
    Local,
    /// The upstream host.
    Upstream,
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Status of the local reply.
    pub status: StatusCode,
    /// Envoy's response flag.
    pub flag: Flags,
    /// Envoy's response code details.
    pub details: Cow<'static, str>,
    /// Body of the local reply.
    pub body: Cow<'static, str>,
    /// Whose fault it was.
    pub blame: Blame,
    /// How the retry policy sees it; `None`: never repeated.
    pub broken: Option<Broken>,
}

impl Failure {
    /// Whether there was no host that could be reached, so that nothing of the request was sent.
    pub fn is_undelivered(&self) -> bool {
        match self {
            Self::NoHealthyUpstream => true,
            Self::Connect(error) => *error != ConnectError::Overflow,
            _ => false,
        }
    }

    /// The row of the table.
    pub fn outcome(&self) -> Outcome {
        use StatusCode as S;
        let local = |status, flag, details: &'static str, body: &'static str| Outcome {
            status,
            flag,
            details: details.into(),
            body: body.into(),
            blame: Blame::Local,
            broken: None,
        };
        let client = |status, details, body| Outcome {
            blame: Blame::Downstream,
            ..local(status, Flags::DOWNSTREAM_PROTOCOL_ERROR, details, body)
        };
        match self {
            Self::BadRequest(BadRequest::MissingHost) => client(S::BAD_REQUEST, "missing_host_header", ""),
            Self::BadRequest(BadRequest::Path) => client(S::BAD_REQUEST, "path_normalization_failed", ""),
            Self::BadRequest(BadRequest::Underscore) => {
                client(S::BAD_REQUEST, "unexpected_underscore", "Bad Request")
            }
            Self::BadRequest(BadRequest::TransferEncoding) => {
                client(S::NOT_IMPLEMENTED, "http1.invalid_transfer_encoding", "Not Implemented")
            }
            Self::BadRequest(BadRequest::OldVersion) => {
                client(S::UPGRADE_REQUIRED, "low_version", "Upgrade Required")
            }
            Self::BadRequest(BadRequest::Malformed) => client(S::BAD_REQUEST, "codec_error", "Bad Request"),
            Self::RouteNotFound => local(S::NOT_FOUND, Flags::NO_ROUTE_FOUND, "route_not_found", ""),
            Self::ClusterNotFound(status) => local(*status, Flags::NO_CLUSTER_FOUND, "cluster_not_found", ""),
            Self::NoHealthyUpstream => local(
                S::SERVICE_UNAVAILABLE,
                Flags::NO_HEALTHY_UPSTREAM,
                "no_healthy_upstream",
                "no healthy upstream",
            ),
            Self::Overflow | Self::Connect(ConnectError::Overflow) => {
                reset(Flags::UPSTREAM_OVERFLOW, "overflow", None, None)
            }
            Self::Connect(ConnectError::Timeout) => {
                reset(Flags::UPSTREAM_CONNECTION_FAILURE, "connection timeout", None, Some(Broken::Connect))
            }
            Self::Connect(error @ (ConnectError::Failed(_) | ConnectError::Tls(_))) => {
                let reason = error.to_string();
                let flag = Flags::UPSTREAM_CONNECTION_FAILURE;
                reset(flag, "remote connection failure", Some(&reason), Some(Broken::Connect))
            }
            Self::UpstreamReset => {
                reset(Flags::UPSTREAM_REMOTE_RESET, "remote reset", None, Some(Broken::Reset))
            }
            Self::UpstreamRefused => reset(
                Flags::UPSTREAM_REMOTE_RESET,
                "remote refused stream reset",
                None,
                Some(Broken::Refused),
            ),
            Self::UpstreamTerminated => reset(
                Flags::UPSTREAM_CONNECTION_TERMINATION,
                "connection termination",
                None,
                Some(Broken::Reset),
            ),
            Self::UpstreamProtocol => Outcome {
                status: S::BAD_GATEWAY,
                ..reset(Flags::UPSTREAM_PROTOCOL_ERROR, "protocol error", None, Some(Broken::Reset))
            },
            Self::ResponseTimeout => timed_out("response_timeout", None),
            Self::PerTryTimeout => timed_out("upstream_per_try_timeout", Some(Broken::Timeout)),
            Self::MaxStreamDuration => Outcome {
                blame: Blame::Upstream,
                ..local(
                    S::GATEWAY_TIMEOUT,
                    Flags::UPSTREAM_MAX_STREAM_DURATION,
                    "upstream_max_stream_duration_reached",
                    "upstream max stream duration reached",
                )
            },
            Self::StreamIdle { request_complete } => {
                let status = if *request_complete { S::GATEWAY_TIMEOUT } else { S::REQUEST_TIMEOUT };
                local(status, Flags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout", "stream timeout")
            }
            Self::RequestTimeout => Outcome {
                blame: Blame::Downstream,
                ..local(S::REQUEST_TIMEOUT, Flags::NONE, "request_overall_timeout", "request timeout")
            },
            Self::DownstreamGone => Outcome {
                blame: Blame::Downstream,
                ..local(
                    S::SERVICE_UNAVAILABLE,
                    Flags::DOWNSTREAM_CONNECTION_TERMINATION,
                    "downstream_remote_disconnect",
                    "",
                )
            },
            Self::UpgradeRefused => local(S::FORBIDDEN, Flags::NONE, "upgrade_failed", ""),
            Self::FaultInjected(status) => {
                local(*status, Flags::FAULT_INJECTED, "fault_filter_abort", "fault filter abort")
            }
        }
    }
}

/// A stream that ended before the response began, in Envoy's words.
fn reset(flag: Flags, reason: &str, transport: Option<&str>, broken: Option<Broken>) -> Outcome {
    let word = reason.replace(' ', "_");
    let (details, body) = match transport {
        None => (
            format!("upstream_reset_before_response_started{{{word}}}"),
            format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}"),
        ),
        Some(transport) => (
            format!("upstream_reset_before_response_started{{{word}|{}}}", transport.replace(' ', "_")),
            format!(
                "upstream connect error or disconnect/reset before headers. reset reason: {reason}, transport failure reason: {transport}"
            ),
        ),
    };
    let blame = if flag == Flags::UPSTREAM_OVERFLOW { Blame::Local } else { Blame::Upstream };
    Outcome {
        status: StatusCode::SERVICE_UNAVAILABLE,
        flag,
        details: details.into(),
        body: body.into(),
        blame,
        broken,
    }
}

fn timed_out(details: &'static str, broken: Option<Broken>) -> Outcome {
    Outcome {
        status: StatusCode::GATEWAY_TIMEOUT,
        flag: Flags::UPSTREAM_REQUEST_TIMEOUT,
        details: details.into(),
        body: "upstream request timeout".into(),
        blame: Blame::Upstream,
        broken,
    }
}

/// The gRPC status that stands for an HTTP status in a local reply.
pub fn grpc_status(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests;
