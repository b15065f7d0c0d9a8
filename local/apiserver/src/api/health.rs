//! `/healthz`, `/livez`, `/readyz`, `/version` and the OpenID documents of service-account tokens.

use super::Answer;
use crate::auth::token::ISSUER;
use crate::request::Query;
use crate::server::Core;
use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// The Kubernetes version whose API this is a subset of.
pub const VERSION: &str = "v1.34.2";

/// Answers the path if it is one of these.
pub fn handle(core: &Core, path: &str, query: &Query) -> Option<Response<Body>> {
    match path {
        "/version" | "/version/" => Some(Answer::ok(&version(core)).into_response()),
        "/healthz" | "/livez" | "/healthz/" | "/livez/" => Some(checks("livez", Vec::new(), query)),
        "/readyz" | "/readyz/" => Some(checks("readyz", readiness(core), query)),
        "/openid/v1/jwks" => Some(Answer::ok(&core.tokens.jwks()).into_response()),
        "/.well-known/openid-configuration" => Some(Answer::ok(&openid()).into_response()),
        _ if path.starts_with("/healthz/") || path.starts_with("/livez/") => {
            Some(checks("livez", Vec::new(), query))
        }
        _ => None,
    }
}

fn version(core: &Core) -> serde_json::Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": core.started, "goVersion": "", "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}

fn openid() -> serde_json::Value {
    json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    })
}

type Checked = (String, Result<(), String>);

fn readiness(core: &Core) -> Vec<Checked> {
    core.checks.read().iter().map(|(name, check)| (name.clone(), check())).collect()
}

fn checks(what: &str, extra: Vec<Checked>, query: &Query) -> Response<Body> {
    let all = [("ping".to_owned(), Ok(())), ("storage".to_owned(), Ok(()))].into_iter().chain(extra);
    let all: Vec<Checked> = all.collect();
    let failed = all.iter().any(|(_, r)| r.is_err());
    let text = if failed || query.flag("verbose") { report(what, &all, failed) } else { "ok".to_owned() };
    let mut response = Response::new(Body::from(text));
    if failed {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn report(what: &str, all: &[Checked], failed: bool) -> String {
    let line = |(name, result): &Checked| match result {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(why) => format!("[-]{name} failed: {why}\n"),
    };
    let lines: String = all.iter().map(line).collect();
    format!("{lines}{what} check {}\n", if failed { "failed" } else { "passed" })
}
