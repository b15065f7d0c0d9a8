//! OpenAPI documents.

use crate::error::Result;
use crate::server::Core;
use axum::body::Body;
use http::{HeaderMap, Response};

/// Documents made once and kept until a CRD changes.
#[derive(Default)]
pub struct Cache {}

impl Cache {
    /// The kinds have changed.
    pub fn forget(&self) {}
}

/// Answers the path if it is an OpenAPI document.
pub fn handle(_core: &Core, _path: &str, _headers: &HeaderMap) -> Option<Result<Response<Body>>> {
    None
}
