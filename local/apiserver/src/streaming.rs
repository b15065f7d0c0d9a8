//! Logs, exec, attach and port-forward.

use crate::api::Call;
use crate::error::{ApiError, Result};
use axum::body::Body;
use http::Response;
use http::request::Parts;

/// Handles a streaming sub-resource of a pod.
pub async fn handle(_call: Call, _parts: Parts, _body: Body) -> Result<Response<Body>> {
    Err(ApiError::method_not_allowed())
}
