//! OpenAPI documents: `/openapi/v3` (one a group version) and `/openapi/v2` (one for all, JSON or protobuf).

mod gnostic;
mod parts;
mod v2;
mod v3;

use crate::error::{ApiError, Result};
use crate::registry::Registry;
use crate::server::Core;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Documents made once and kept until a CRD changes.
#[derive(Default)]
pub struct Cache {
    documents: Mutex<HashMap<String, Bytes>>,
}

impl Cache {
    /// The kinds have changed.
    pub fn forget(&self) {
        self.documents.lock().clear();
    }

    fn get(&self, key: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        if let Some(found) = self.documents.lock().get(key) {
            return found.clone();
        }
        let made = Bytes::from(make());
        self.documents.lock().insert(key.to_owned(), made.clone());
        made
    }
}

const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What older clients ask for. It is no valid media type, so the answer always carries the other name.
const V2_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Answers the path if it is an OpenAPI document.
pub fn handle(core: &Core, path: &str, headers: &HeaderMap) -> Option<Result<Response<Body>>> {
    let registry = core.registry.load();
    match path.trim_end_matches('/') {
        "/openapi/v3" => Some(Ok(respond(index(core, &registry), "application/json", headers))),
        "/openapi/v2" => Some(v2_document(core, &registry, headers)),
        other => {
            let version = other.strip_prefix("/openapi/v3/")?;
            Some(v3_document(core, &registry, version, headers))
        }
    }
}

fn group_version(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

fn v3_document(core: &Core, registry: &Registry, path: &str, headers: &HeaderMap) -> Result<Response<Body>> {
    let (group, version) = group_version(path).ok_or_else(ApiError::no_such_path)?;
    if registry.in_version(group, version).next().is_none() {
        return Err(ApiError::no_such_path());
    }
    Ok(respond(v3_bytes(core, registry, group, version), "application/json", headers))
}

fn v3_bytes(core: &Core, registry: &Registry, group: &str, version: &str) -> Bytes {
    core.openapi.get(&format!("v3/{group}/{version}"), || {
        v3::document(registry, group, version).to_string().into_bytes()
    })
}

/// The index: every document's address carries a hash of its content, so that clients may cache it for ever.
fn index(core: &Core, registry: &Registry) -> Bytes {
    core.openapi.get("v3", || {
        let mut paths = serde_json::Map::new();
        for group in registry.groups() {
            for version in &group.versions {
                let path = if group.name.is_empty() {
                    format!("api/{version}")
                } else {
                    format!("apis/{}/{version}", group.name)
                };
                let hash = hash(&v3_bytes(core, registry, &group.name, version));
                let url = format!("/openapi/v3/{path}?hash={hash}");
                paths.insert(path, json!({ "serverRelativeURL": url }));
            }
        }
        json!({ "paths": paths }).to_string().into_bytes()
    })
}

fn hash(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02X}")).collect()
}

fn v2_document(core: &Core, registry: &Registry, headers: &HeaderMap) -> Result<Response<Body>> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let document = || -> Value { v2::document(registry) };
    if accept.contains(V2_PROTOBUF) || accept.contains(V2_PROTOBUF_OLD) {
        let bytes = core.openapi.get("v2/protobuf", || gnostic::encode(&document()));
        return Ok(respond(bytes, V2_PROTOBUF, headers));
    }
    let bytes = core.openapi.get("v2/json", || document().to_string().into_bytes());
    Ok(respond(bytes, "application/json", headers))
}

fn respond(bytes: Bytes, media: &'static str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", hash(&bytes));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if known { Body::empty() } else { Body::from(bytes) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
