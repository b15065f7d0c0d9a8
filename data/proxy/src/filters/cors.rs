//! `envoy.filters.http.cors`: preflight requests are answered here; answers to accepted origins say so.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use meltemi_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy as Proto;
use meltemi_proto::google::protobuf::Any;

use super::{Cx, Reply, Verdict};
use crate::base::body::Body;
use crate::base::duration::bool_or;
use crate::base::reject::{Compiled, Reject, each, unpack};
use crate::matcher::fraction::Fraction;
use crate::matcher::string::StringMatcher;

const NAME: &str = "envoy.filters.http.cors";

/// A route's CORS policy.
#[derive(Debug)]
pub struct CorsPolicy {
    origins: Vec<StringMatcher>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    forward_unmatched_preflights: bool,
    enabled: Fraction,
}

/// Compiles Envoy's message.
pub fn compile(any: &Any) -> Compiled<CorsPolicy> {
    let proto = unpack::<Proto>("", any)?;
    let header = |field: &str, text: &str| {
        if text.is_empty() {
            return Ok(None);
        }
        HeaderValue::from_str(text).map(Some).map_err(|_| Reject::new(field, "is not a header value"))
    };
    Ok(CorsPolicy {
        origins: each("allow_origin_string_match", &proto.allow_origin_string_match, StringMatcher::compile)?,
        methods: header("allow_methods", &proto.allow_methods)?,
        headers: header("allow_headers", &proto.allow_headers)?,
        expose: header("expose_headers", &proto.expose_headers)?,
        max_age: header("max_age", &proto.max_age)?,
        credentials: bool_or(&proto.allow_credentials, false),
        forward_unmatched_preflights: bool_or(&proto.forward_not_matching_preflights, true),
        enabled: proto.filter_enabled.as_ref().map_or(Fraction::ALL, Fraction::runtime),
    })
}

pub(super) fn on_request(cx: &mut Cx<'_>) -> Verdict {
    let Some(policy) = cx.route.and_then(|route| route.filter::<CorsPolicy>(NAME)) else {
        return Verdict::Continue;
    };
    let Some(origin) = cx.head.headers.get(ORIGIN).cloned() else { return Verdict::Continue };
    if !policy.enabled.draw() {
        return Verdict::Continue;
    }
    let accepted = origin.to_str().is_ok_and(|origin| policy.origins.iter().any(|m| m.is_match(origin)));
    let preflight =
        cx.head.method == Method::OPTIONS && cx.head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    match (accepted, preflight) {
        (true, true) => Verdict::Reply(Box::new(policy.preflight(origin))),
        (true, false) => {
            cx.notes.cors_origin = Some(origin);
            Verdict::Continue
        }
        (false, true) if !policy.forward_unmatched_preflights => {
            let response = Response::new(Body::Empty);
            Verdict::Reply(Box::new(Reply { response, details: "cors_response" }))
        }
        (false, _) => Verdict::Continue,
    }
}

pub(super) fn on_response(cx: &mut Cx<'_>, headers: &mut HeaderMap) {
    let Some(origin) = cx.notes.cors_origin.take() else { return };
    let Some(policy) = cx.route.and_then(|route| route.filter::<CorsPolicy>(NAME)) else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    policy.credentials(headers);
    set(headers, ACCESS_CONTROL_EXPOSE_HEADERS, policy.expose.as_ref());
}

impl CorsPolicy {
    fn preflight(&self, origin: HeaderValue) -> Reply {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        self.credentials(headers);
        set(headers, ACCESS_CONTROL_ALLOW_METHODS, self.methods.as_ref());
        set(headers, ACCESS_CONTROL_ALLOW_HEADERS, self.headers.as_ref());
        set(headers, ACCESS_CONTROL_MAX_AGE, self.max_age.as_ref());
        Reply { response, details: "cors_response" }
    }

    fn credentials(&self, headers: &mut HeaderMap) {
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value.clone());
    }
}
