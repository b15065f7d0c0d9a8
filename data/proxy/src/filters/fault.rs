//! `envoy.filters.http.fault`: delays and aborts by configuration.

use std::time::Duration;

use http::StatusCode;
use meltemi_proto::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use meltemi_proto::envoy::extensions::filters::http::fault::v3::HttpFault;
use meltemi_proto::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use meltemi_proto::google::protobuf::Any;

use super::{Cx, Verdict};
use crate::base::duration::duration;
use crate::base::reject::{At, Compiled, Reject, each, required, unpack, unsupported};
use crate::failure::Failure;
use crate::matcher::fraction::Fraction;
use crate::matcher::header::HeaderMatcher;
use crate::telemetry::Flags;

const NAME: &str = "envoy.filters.http.fault";

/// A compiled fault: of the filter, or of one route.
#[derive(Debug, Default)]
pub struct Fault {
    delay: Option<(Duration, Fraction)>,
    abort: Option<(StatusCode, Fraction)>,
    headers: Vec<HeaderMatcher>,
}

/// Compiles Envoy's message.
pub fn compile(any: &Any) -> Compiled<Fault> {
    let proto = unpack::<HttpFault>("", any)?;
    unsupported(&[
        // These make a fault rarer.
        (!proto.upstream_cluster.is_empty(), "upstream_cluster"),
        (!proto.downstream_nodes.is_empty(), "downstream_nodes"),
        (proto.max_active_faults.is_some(), "max_active_faults"),
        (proto.response_rate_limit.is_some(), "response_rate_limit"),
    ])?;
    let mut fault =
        Fault { headers: each("headers", &proto.headers, HeaderMatcher::compile)?, ..Fault::default() };
    if let Some(delay) = &proto.delay {
        let share = delay.percentage.as_ref().map_or(Fraction::ALL, Fraction::compile);
        fault.delay = match required("fault_delay_secifier", &delay.fault_delay_secifier).at("delay")? {
            FaultDelaySecifier::FixedDelay(fixed) => Some((duration("delay.fixed_delay", fixed)?, share)),
            FaultDelaySecifier::HeaderDelay(_) => {
                return Err(Reject::new("delay.header_delay", "is not supported; use fixed_delay"));
            }
        };
    }
    if let Some(abort) = &proto.abort {
        let share = abort.percentage.as_ref().map_or(Fraction::ALL, Fraction::compile);
        let status = match required("error_type", &abort.error_type).at("abort")? {
            ErrorType::HttpStatus(status) => u16::try_from(*status).ok(),
            ErrorType::GrpcStatus(status) => {
                return Ok(Fault { abort: Some((grpc(*status), share)), ..fault });
            }
            ErrorType::HeaderAbort(_) => None,
        };
        let status = status.and_then(|s| StatusCode::from_u16(s).ok()).filter(|s| s.as_u16() >= 200);
        let status = status.ok_or_else(|| Reject::new("abort", "needs an http_status from 200 to 599"))?;
        fault.abort = Some((status, share));
    }
    Ok(fault)
}

/// The HTTP status whose gRPC form is nearest to a gRPC status.
fn grpc(status: u32) -> StatusCode {
    match status {
        7 => StatusCode::FORBIDDEN,
        12 => StatusCode::NOT_FOUND,
        13 => StatusCode::BAD_REQUEST,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Fault {
    pub(super) fn on_request(&self, cx: &mut Cx<'_>) -> Verdict {
        let fault = cx.route.and_then(|route| route.filter::<Self>(NAME)).unwrap_or(self);
        if !fault.headers.iter().all(|m| m.is_match(cx.head)) {
            return Verdict::Continue;
        }
        let abort =
            fault.abort.filter(|(_, share)| share.draw()).map(|(status, _)| Failure::FaultInjected(status));
        let delay = fault.delay.filter(|(_, share)| share.draw()).map(|(delay, _)| delay);
        match (delay, abort) {
            (None, None) => Verdict::Continue,
            (None, Some(failure)) => Verdict::Fail(failure),
            (Some(delay), abort) => {
                cx.info.flags.set(Flags::DELAY_INJECTED);
                Verdict::Wait(Box::pin(async move {
                    tokio::time::sleep(delay).await;
                    abort.map_or(Ok(()), Err)
                }))
            }
        }
    }
}
