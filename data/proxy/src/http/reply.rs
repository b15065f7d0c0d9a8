//! Answers made here instead of upstream.

use std::fmt::Write;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderValue, Response, StatusCode};

use crate::base::body::Body;
use crate::base::head::NOT_DELIVERED;
use crate::failure::{Outcome, grpc_status};
use crate::route::action::Direct;
use crate::telemetry::Flags;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// Marks a local reply to a request that never left.
pub(super) fn mark_not_delivered(response: &mut Response<Body>) {
    response.headers_mut().insert(NOT_DELIVERED, HeaderValue::from_static("true"));
}

/// The answer to a failure, in the form the client understands.
pub(super) fn failure(outcome: &Outcome, grpc: bool) -> Response<Body> {
    let mut response = text(outcome.status, &outcome.body, grpc);
    if outcome.flag.intersects(Flags::UPSTREAM_OVERFLOW) {
        response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    response
}

/// A plain text answer; for gRPC a status without a message stream.
pub(super) fn text(status: StatusCode, body: &str, grpc: bool) -> Response<Body> {
    if grpc {
        return trailers_only(status, body);
    }
    let mut response = Response::new(Body::text(body.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// The answer that a route gives itself.
pub(super) fn direct(direct: &Direct, grpc: bool) -> Response<Body> {
    if grpc {
        return trailers_only(direct.status, &String::from_utf8_lossy(&direct.body));
    }
    let mut response = text(direct.status, "", false);
    if !direct.body.is_empty() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(direct.body.len()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        *response.body_mut() = Body::Full(direct.body.clone());
    }
    response
}

fn trailers_only(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(status)));
    if let Some(message) = Some(message).filter(|m| !m.is_empty()).and_then(|m| escaped(m).parse().ok()) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// A redirect to `location`.
pub(super) fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = text(status, "", false);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Percent-encoding of `grpc-message`.
fn escaped(message: &str) -> String {
    message.bytes().fold(String::with_capacity(message.len()), |mut out, byte| {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[tokio::test]
    async fn a_direct_answer_keeps_its_bytes() {
        use http_body_util::BodyExt;
        let image = Direct { status: StatusCode::OK, body: vec![0x89, b'P', 0xff].into() };
        let response = direct(&image, false);
        assert_eq!(response.headers()[CONTENT_LENGTH], "3");
        assert_eq!(&response.into_body().collect().await.unwrap().to_bytes()[..], [0x89, b'P', 0xff]);
    }

    #[test]
    fn a_failure_has_an_http_and_a_grpc_face() {
        let outcome = Failure::NoHealthyUpstream.outcome();
        let http = failure(&outcome, false);
        assert_eq!(http.status(), 503);
        assert_eq!(http.headers()[CONTENT_TYPE], "text/plain");
        let grpc = failure(&outcome, true);
        assert_eq!(grpc.status(), 200);
        assert_eq!(grpc.headers()[GRPC_STATUS], "14");
        assert_eq!(grpc.headers()[GRPC_MESSAGE], "no healthy upstream");
        assert!(failure(&Failure::Overflow.outcome(), false).headers().contains_key(OVERLOADED));
    }
}
