//! Who is calling, and may they.

pub mod escalation;
mod impersonation;
pub mod rbac;
pub mod token;

pub use impersonation::impersonate;

use crate::error::{ApiError, Result};
use crate::server::Core;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// User name.
    pub name: String,
    /// Uid, "" if none.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Extra attributes (the pod a token is bound to).
    pub extra: Vec<(String, Vec<String>)>,
}

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";

impl User {
    /// The cluster administrator.
    pub fn admin() -> Self {
        User {
            name: "kubernetes-admin".into(),
            groups: vec![MASTERS.into(), "system:authenticated".into()],
            ..User::default()
        }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        User {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..User::default()
        }
    }

    /// Whether the caller is unrestricted.
    pub fn is_admin(&self) -> bool {
        self.groups.iter().any(|g| g == MASTERS)
    }

    /// `userInfo` of reviews and admission.
    pub fn info(&self) -> Value {
        let mut info = json!({ "username": self.name, "groups": self.groups });
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            info["extra"] = self
                .extra
                .iter()
                .map(|(k, v)| (k.clone(), json!(v)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        info
    }
}

/// The certificate a TLS client showed, verified; put into the request's extensions by the listener.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Arc<Vec<u8>>);

/// Marks a request that came through the in-process service.
#[derive(Debug, Clone, Copy)]
pub struct InProcess;

/// Finds out who is calling. A bad token is an error; no credentials make the caller anonymous.
pub fn authenticate(core: &Core, headers: &HeaderMap, extensions: &http::Extensions) -> Result<User> {
    if extensions.get::<InProcess>().is_some() {
        return Ok(User::admin());
    }
    if let Some(PeerCertificate(der)) = extensions.get::<PeerCertificate>() {
        return from_certificate(der).ok_or_else(ApiError::unauthorized);
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return from_websocket_protocol(core, headers).unwrap_or_else(|| Ok(User::anonymous()));
    };
    let value = value.to_str().map_err(|_| ApiError::unauthorized())?;
    match value.split_once(' ') {
        Some((scheme, bearer)) if scheme.eq_ignore_ascii_case("bearer") => core
            .tokens
            .authenticate(&core.store, bearer.trim(), &[])
            .map(|t| t.user)
            .ok_or_else(ApiError::unauthorized),
        _ => Err(ApiError::unauthorized()),
    }
}

/// Browsers cannot set headers on WebSockets; Kubernetes takes the token as a sub-protocol.
fn from_websocket_protocol(core: &Core, headers: &HeaderMap) -> Option<Result<User>> {
    use base64::Engine;
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let encoded =
        protocols.split(',').find_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io."))?;
    let bearer = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let bearer = String::from_utf8(bearer).ok()?;
    let found = core.tokens.authenticate(&core.store, &bearer, &[]);
    Some(found.map(|t| t.user).ok_or_else(ApiError::unauthorized))
}

fn from_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    groups.push("system:authenticated".into());
    (!name.is_empty()).then_some(User { name, groups, ..User::default() })
}
