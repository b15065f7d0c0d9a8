//! Faults that are injected.

use crate::istio::virtual_service::{GRPC_STATUS, HttpFaultInjection};
use crate::path::Path;

use super::report::Report;

pub(super) fn check(fault: &HttpFaultInjection, path: &Path, report: &mut Report) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(path, "no fault is named", "add `delay` or `abort`");
    }
    if let Some(delay) = &fault.delay {
        let path = path.key("delay");
        if delay.fixed_delay.is_none() && delay.exponential_delay.is_none() {
            report.error(&path, "the delay is missing", "add `fixedDelay`");
        }
        report.duration(&path.key("fixedDelay"), delay.fixed_delay);
        report.duration(&path.key("exponentialDelay"), delay.exponential_delay);
        report.percent(&path.key("percent"), f64::from(delay.percent));
        if delay.percentage.is_none() && delay.percent == 0 {
            report.warning(&path, "no percentage is named, so no request is delayed", "add `percentage`");
        }
        if let Some(percent) = delay.percentage {
            report.percent(&path.key("percentage").key("value"), percent.value);
        }
    }
    if let Some(abort) = &fault.abort {
        let path = path.key("abort");
        match (abort.http_status, abort.grpc_status.as_deref(), &abort.http2_error) {
            (None, None, None) => {
                report.error(&path, "the status is missing", "add `httpStatus` or `grpcStatus`")
            }
            (Some(status), ..) if !(200..600).contains(&status) => {
                report.error(
                    &path.key("httpStatus"),
                    format!("{status} is no HTTP status"),
                    "write 200 to 599",
                );
            }
            (_, Some(name), _) if !GRPC_STATUS.contains(&name) => {
                let cure = format!("write one of {}", GRPC_STATUS.join(", "));
                report.error(&path.key("grpcStatus"), format!("{name:?} is no gRPC status"), cure);
            }
            (_, _, Some(_)) => {
                report.error(
                    &path.key("http2Error"),
                    "HTTP/2 errors cannot be injected",
                    "use `httpStatus` or `grpcStatus`",
                );
            }
            _ => {}
        }
        if let Some(percent) = abort.percentage {
            report.percent(&path.key("percentage").key("value"), percent.value);
        }
    }
}
