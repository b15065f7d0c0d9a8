//! Command operators: one value of a log line each.

mod arguments;
mod value;

use std::sync::Arc;

use http::HeaderMap;

use super::duration::{Moment, Span};
use super::time::TimeFormat;
use super::tls::TlsField;
use crate::base::head::HeaderKey;
use crate::base::reject::{Compiled, Reject};
use crate::telemetry::info::{LogContext, TlsInfo};
use arguments::{grpc_format, header};
use value::{Bytes, GrpcFormat, Shape, Side, display, number, text};

/// A compiled operator.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    RequestHeader(HeaderKey, Option<HeaderKey>),
    ResponseHeader(HeaderKey, Option<HeaderKey>),
    ResponseTrailer(HeaderKey, Option<HeaderKey>),
    StartTime(TimeFormat),
    Protocol,
    UpstreamProtocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    Bytes(Bytes),
    Duration,
    Span(Span),
    RequestAttempts,
    UpstreamHost,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamTransportFailure,
    DownstreamTransportFailure,
    Address(Side, Shape),
    RequestedServerName,
    RouteName,
    VirtualHost,
    FilterChain,
    ListenerName,
    ConnectionId,
    StreamId,
    Fixed(Arc<str>),
    GrpcStatus(GrpcFormat),
    Metadata(Arc<str>, Box<[String]>),
    FilterState(Arc<str>, Option<String>),
    DownstreamTls(TlsField),
    UpstreamTls(TlsField),
}

impl Operator {
    /// Compiles an operator by its name.
    ///
    /// # Errors
    /// Names the operator when it is unknown or its arguments are wrong.
    pub(super) fn compile(name: &str, arguments: Option<&str>) -> Compiled<Self> {
        if let Some(known) = Self::plain(name) {
            return match arguments {
                Some(_) => Err(Reject::new("", format!("command operator {name} takes no arguments"))),
                None => Ok(known),
            };
        }
        if let Some(address) = address(name) {
            return Ok(address);
        }
        let downstream = name.strip_prefix("DOWNSTREAM_").and_then(|rest| TlsField::compile(rest, arguments));
        let upstream = name.strip_prefix("UPSTREAM_").and_then(|rest| TlsField::compile(rest, arguments));
        match (downstream, upstream) {
            (Some(field), _) => Ok(Operator::DownstreamTls(field?)),
            (_, Some(field)) => Ok(Operator::UpstreamTls(field?)),
            _ => Self::with_arguments(name, arguments),
        }
    }

    fn plain(name: &str) -> Option<Self> {
        use Operator as O;
        Some(match name {
            "PROTOCOL" => O::Protocol,
            "UPSTREAM_PROTOCOL" => O::UpstreamProtocol,
            "RESPONSE_CODE" => O::ResponseCode,
            "RESPONSE_CODE_DETAILS" => O::ResponseCodeDetails,
            "CONNECTION_TERMINATION_DETAILS" => O::ConnectionTerminationDetails,
            "RESPONSE_FLAGS" => O::ResponseFlags,
            "RESPONSE_FLAGS_LONG" => O::ResponseFlagsLong,
            "BYTES_RECEIVED" => O::Bytes(Bytes::Received),
            "BYTES_SENT" => O::Bytes(Bytes::Sent),
            "DOWNSTREAM_WIRE_BYTES_RECEIVED" => O::Bytes(Bytes::WireReceived),
            "DOWNSTREAM_WIRE_BYTES_SENT" => O::Bytes(Bytes::WireSent),
            "UPSTREAM_WIRE_BYTES_RECEIVED" => O::Bytes(Bytes::UpstreamWireReceived),
            "UPSTREAM_WIRE_BYTES_SENT" => O::Bytes(Bytes::UpstreamWireSent),
            "DURATION" => O::Duration,
            "REQUEST_DURATION" => O::Span(Span::millis(Moment::RequestStart, Moment::RequestEnd)),
            "REQUEST_TX_DURATION" => O::Span(Span::millis(Moment::RequestStart, Moment::UpstreamRequestEnd)),
            "RESPONSE_DURATION" => O::Span(Span::millis(Moment::RequestStart, Moment::UpstreamResponseStart)),
            "RESPONSE_TX_DURATION" => {
                O::Span(Span::millis(Moment::UpstreamResponseStart, Moment::ResponseEnd))
            }
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => O::RequestAttempts,
            "UPSTREAM_HOST" => O::UpstreamHost,
            "UPSTREAM_CLUSTER" => O::UpstreamCluster,
            "UPSTREAM_CLUSTER_RAW" => O::UpstreamClusterRaw,
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => O::UpstreamTransportFailure,
            "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => O::DownstreamTransportFailure,
            "REQUESTED_SERVER_NAME" => O::RequestedServerName,
            "ROUTE_NAME" => O::RouteName,
            "VIRTUAL_HOST_NAME" => O::VirtualHost,
            "FILTER_CHAIN_NAME" => O::FilterChain,
            "LISTENER_NAME" => O::ListenerName,
            "CONNECTION_ID" => O::ConnectionId,
            "STREAM_ID" => O::StreamId,
            "HOSTNAME" => O::Fixed(hostname()),
            "GRPC_STATUS_NUMBER" => O::GrpcStatus(GrpcFormat::Number),
            _ => return None,
        })
    }

    fn with_arguments(name: &str, arguments: Option<&str>) -> Compiled<Self> {
        let required = || {
            arguments.filter(|text| !text.is_empty()).ok_or_else(|| {
                Reject::new("", format!("command operator {name} needs arguments: %{name}(…)%"))
            })
        };
        Ok(match name {
            "REQ" => header(required()?).map(|(key, other)| Operator::RequestHeader(key, other))?,
            "RESP" => header(required()?).map(|(key, other)| Operator::ResponseHeader(key, other))?,
            "TRAILER" => header(required()?).map(|(key, other)| Operator::ResponseTrailer(key, other))?,
            "START_TIME" => Operator::StartTime(TimeFormat::compile(arguments)?),
            "COMMON_DURATION" => Operator::Span(Span::compile(required()?)?),
            "GRPC_STATUS" => Operator::GrpcStatus(grpc_format(arguments)?),
            "ENVIRONMENT" => Operator::Fixed(std::env::var(required()?).unwrap_or_default().into()),
            "DYNAMIC_METADATA" => {
                let mut path = required()?.split(':');
                let filter = path.next().unwrap_or_default();
                Operator::Metadata(filter.into(), path.map(str::to_owned).collect())
            }
            "FILTER_STATE" => {
                let mut parts = required()?.split(':');
                let key = parts.next().unwrap_or_default();
                let field = parts.skip_while(|p| *p != "FIELD").nth(1).map(str::to_owned);
                Operator::FilterState(key.into(), field)
            }
            _ => return Err(Reject::new("", format!("unknown command operator %{name}%"))),
        })
    }

    /// Whether the value is a number or a structure that JSON shows without quotes.
    pub(super) fn is_json(&self) -> bool {
        matches!(
            self,
            Operator::ResponseCode
                | Operator::Bytes(_)
                | Operator::Duration
                | Operator::Span(_)
                | Operator::RequestAttempts
                | Operator::ConnectionId
                | Operator::Address(_, Shape::Port)
                | Operator::GrpcStatus(GrpcFormat::Number)
        )
    }

    /// The value as JSON, for operators whose value has a structure.
    pub(super) fn structure<'a>(&self, context: &LogContext<'a>) -> Option<&'a serde_json::Value> {
        match self {
            Operator::Metadata(filter, path) => {
                let filter = context.info.metadata.as_ref()?.get(filter)?;
                let mut path = path.iter();
                path.clone().next()?;
                let first = filter.get(path.next()?)?;
                path.try_fold(first, |value, key| value.get(key))
            }
            Operator::FilterState(key, field) => {
                let value = context.info.filter_state.as_ref()?.get(key)?;
                field.as_ref().map_or(Some(value), |field| value.get(field))
            }
            _ => None,
        }
    }

    /// Writes the value; `false` (and nothing written) when there is none.
    pub(super) fn write(&self, out: &mut Vec<u8>, context: &LogContext<'_>) -> bool {
        let info = context.info;
        let connection = &info.connection;
        let upstream = &info.upstream;
        match self {
            Operator::RequestHeader(key, other) => {
                let Some(head) = context.request else { return false };
                let value = head.value(key).or_else(|| other.as_ref().and_then(|key| head.value(key)));
                text(out, value.as_deref())
            }
            Operator::ResponseHeader(key, other) => field(out, context.response, key, other.as_ref()),
            Operator::ResponseTrailer(key, other) => field(out, context.trailers, key, other.as_ref()),
            Operator::StartTime(format) => {
                format.write(out, info.start_time);
                true
            }
            Operator::Protocol => text(out, info.protocol.map(|p| p.as_str())),
            Operator::UpstreamProtocol => text(out, upstream.protocol.map(|p| p.as_str())),
            Operator::ResponseCode => number(out, info.response_code.unwrap_or(0)),
            Operator::ResponseCodeDetails => text(out, info.details.as_deref()),
            Operator::ConnectionTerminationDetails => text(out, info.connection_termination.as_deref()),
            Operator::ResponseFlags => display(out, Some(info.flags)),
            Operator::ResponseFlagsLong => text(out, Some(&info.flags.long())),
            Operator::Bytes(which) => number(out, which.of(context)),
            Operator::Duration => number(out, u64::try_from(info.duration().as_millis()).unwrap_or(u64::MAX)),
            Operator::Span(span) => span.of(info).is_some_and(|value| number(out, value)),
            Operator::RequestAttempts => number(out, upstream.attempts),
            Operator::UpstreamHost => display(out, upstream.host.as_ref()),
            Operator::UpstreamCluster => text(out, upstream.cluster.as_ref().map(|c| &*c.observability_name)),
            Operator::UpstreamClusterRaw => text(out, upstream.cluster.as_ref().map(|c| &*c.name)),
            Operator::UpstreamTransportFailure => text(out, upstream.transport_failure.as_deref()),
            Operator::DownstreamTransportFailure => text(out, connection.transport_failure.as_deref()),
            Operator::Address(side, shape) => side.of(context).is_some_and(|a| shape.write(out, a)),
            Operator::RequestedServerName => text(out, connection.requested_server_name.as_deref()),
            Operator::RouteName => text(out, info.route.as_deref()),
            Operator::VirtualHost => text(out, info.virtual_host.as_deref()),
            Operator::FilterChain => text(out, connection.filter_chain.as_deref()),
            Operator::ListenerName => text(out, Some(&connection.listener)),
            Operator::ConnectionId => number(out, connection.id),
            Operator::StreamId => number(out, info.stream_id),
            Operator::Fixed(value) => text(out, Some(value)),
            Operator::GrpcStatus(format) => {
                context.grpc_status().is_some_and(|status| format.write(out, status))
            }
            Operator::Metadata(..) | Operator::FilterState(..) => match self.structure(context) {
                Some(serde_json::Value::String(value)) => text(out, Some(value)),
                Some(serde_json::Value::Null) | None => false,
                Some(value) => display(out, Some(value)),
            },
            Operator::DownstreamTls(field) => field.write(out, connection.tls.as_deref()),
            Operator::UpstreamTls(field) => {
                field.write(out, upstream.tls.as_deref().map(|tls: &TlsInfo| tls))
            }
        }
    }
}

fn address(name: &str) -> Option<Operator> {
    let (name, shape) = match (name.strip_suffix("_WITHOUT_PORT"), name.strip_suffix("_PORT")) {
        (Some(name), _) => (name.to_owned(), Shape::WithoutPort),
        // `DOWNSTREAM_REMOTE_PORT` is the port of `DOWNSTREAM_REMOTE_ADDRESS`.
        (_, Some(name)) => (format!("{name}_ADDRESS"), Shape::Port),
        _ => (name.to_owned(), Shape::Whole),
    };
    let side = match name.as_str() {
        "DOWNSTREAM_LOCAL_ADDRESS" => Side::DownstreamLocal,
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => Side::DownstreamDirectLocal,
        "DOWNSTREAM_REMOTE_ADDRESS" => Side::DownstreamRemote,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Side::DownstreamDirectRemote,
        "UPSTREAM_LOCAL_ADDRESS" => Side::UpstreamLocal,
        "UPSTREAM_REMOTE_ADDRESS" => Side::UpstreamRemote,
        _ => return None,
    };
    Some(Operator::Address(side, shape))
}

fn hostname() -> Arc<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().into()
}

fn field(out: &mut Vec<u8>, headers: Option<&HeaderMap>, key: &HeaderKey, other: Option<&HeaderKey>) -> bool {
    let Some(headers) = headers else { return false };
    let find = |key: &HeaderKey| match key {
        HeaderKey::Name(name) => headers.get(name).filter(|value| !value.is_empty()),
        _ => None,
    };
    match find(key).or_else(|| find(other?)) {
        Some(value) => {
            out.extend_from_slice(value.as_bytes());
            true
        }
        None => false,
    }
}
