//! `envoy.filters.http.health_check`: answers health checks here.

use http::{Response, StatusCode};
use meltemi_proto::envoy::extensions::filters::http::health_check::v3::HealthCheck as Proto;
use meltemi_proto::google::protobuf::Any;

use super::{Cx, Reply, Verdict};
use crate::base::body::Body;
use crate::base::duration::bool_or;
use crate::base::reject::{Compiled, Reject, each, unpack};
use crate::matcher::header::HeaderMatcher;

/// The compiled filter.
#[derive(Debug)]
pub struct HealthCheck {
    headers: Vec<HeaderMatcher>,
}

/// Compiles Envoy's message; only the answering mode is there.
pub fn compile(any: &Any) -> Compiled<HealthCheck> {
    let proto = unpack::<Proto>("", any)?;
    if bool_or(&proto.pass_through_mode, false) {
        return Err(Reject::new("pass_through_mode", "is not supported; set it to false"));
    }
    Ok(HealthCheck { headers: each("headers", &proto.headers, HeaderMatcher::compile)? })
}

impl HealthCheck {
    pub(super) fn on_request(&self, cx: &mut Cx<'_>) -> Verdict {
        if self.headers.is_empty() || !self.headers.iter().all(|m| m.is_match(cx.head)) {
            return Verdict::Continue;
        }
        cx.info.health_check = true;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::OK;
        Verdict::Reply(Box::new(Reply { response, details: "health_check_ok" }))
    }
}
