//! The values that several operators share.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;

use crate::base::address::Address;
use crate::telemetry::info::LogContext;

/// Which byte count.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry::access_log) enum Bytes {
    Received,
    Sent,
    WireReceived,
    WireSent,
    UpstreamWireReceived,
    UpstreamWireSent,
}

/// Which address.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry::access_log) enum Side {
    DownstreamLocal,
    DownstreamDirectLocal,
    DownstreamRemote,
    DownstreamDirectRemote,
    UpstreamLocal,
    UpstreamRemote,
}

/// Which part of an address.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry::access_log) enum Shape {
    Whole,
    WithoutPort,
    Port,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry::access_log) enum GrpcFormat {
    Camel,
    Snake,
    Number,
}

/// Names of gRPC's status codes, as Envoy writes them.
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl Bytes {
    pub(super) fn of(self, context: &LogContext<'_>) -> u64 {
        let bytes = &context.info.bytes;
        match self {
            Bytes::Received => bytes.received,
            Bytes::Sent => bytes.sent,
            Bytes::WireReceived => bytes.wire_received,
            Bytes::WireSent => bytes.wire_sent,
            Bytes::UpstreamWireReceived => bytes.upstream_wire_received,
            Bytes::UpstreamWireSent => bytes.upstream_wire_sent,
        }
    }
}

impl Side {
    pub(super) fn of<'a>(self, context: &LogContext<'a>) -> Option<&'a Address> {
        let connection = &context.info.connection;
        match self {
            Side::DownstreamLocal => Some(&connection.local),
            Side::DownstreamDirectLocal => Some(&connection.direct_local),
            Side::DownstreamRemote => Some(context.info.remote()),
            Side::DownstreamDirectRemote => Some(&connection.direct_remote),
            Side::UpstreamLocal => context.info.upstream.local.as_ref(),
            Side::UpstreamRemote => context.info.upstream.host.as_ref(),
        }
    }
}

impl Shape {
    pub(super) fn write(self, out: &mut Vec<u8>, address: &Address) -> bool {
        let ip: Option<IpAddr> = address.ip().map(|socket| socket.ip());
        match self {
            Shape::Whole => display(out, Some(address)),
            Shape::WithoutPort => match ip {
                Some(ip) => display(out, Some(ip)),
                None => display(out, Some(address)),
            },
            Shape::Port => address.ip().is_some_and(|socket| number(out, socket.port())),
        }
    }
}

impl GrpcFormat {
    pub(super) fn write(self, out: &mut Vec<u8>, status: u32) -> bool {
        let names = usize::try_from(status).ok().and_then(|status| GRPC.get(status));
        match (self, names) {
            (GrpcFormat::Camel, Some(names)) => text(out, Some(names.0)),
            (GrpcFormat::Snake, Some(names)) => text(out, Some(names.1)),
            _ => number(out, status),
        }
    }
}

pub(super) fn text(out: &mut Vec<u8>, value: Option<&str>) -> bool {
    let value = value.unwrap_or_default();
    out.extend_from_slice(value.as_bytes());
    !value.is_empty()
}

pub(super) fn number(out: &mut Vec<u8>, value: impl itoa::Integer) -> bool {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    true
}

pub(super) fn display(out: &mut Vec<u8>, value: Option<impl Display>) -> bool {
    // Writing to memory does not fail.
    value.is_some_and(|value| write!(out, "{value}").is_ok())
}
