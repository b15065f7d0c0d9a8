//! The three patch formats that are pure functions of object and patch: JSON, merge and strategic merge.

pub mod strategic;

use crate::error::{ApiError, Result};
use crate::schema::Node;
use serde_json::Value;

/// Operations allowed in one JSON patch, as the real server limits them.
const MAX_OPERATIONS: usize = 10_000;

/// How the body of a PATCH is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, by typed merge keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// The content types a PATCH may have.
pub const CONTENT_TYPES: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Format {
    /// From the Content-Type, without parameters.
    pub fn from_content_type(content_type: &str) -> Result<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Format::Json),
            "application/merge-patch+json" => Ok(Format::Merge),
            "application/strategic-merge-patch+json" => Ok(Format::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Format::Apply),
            _ => Err(ApiError::unsupported_media_type(CONTENT_TYPES)),
        }
    }
}

/// Applies a JSON patch.
pub fn json(current: &Value, patch: &Value) -> Result<Value> {
    let operations: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| ApiError::bad_request(e.to_string()))?;
    if operations.len() > MAX_OPERATIONS {
        let text = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(ApiError::too_large(MAX_OPERATIONS)).map_err(|e| ApiError { message: text, ..e });
    }
    let mut value = current.clone();
    json_patch::patch(&mut value, &operations).map_err(|e| {
        let mut error = ApiError::invalid("", "", "", &[]);
        error.message = format!("the server rejected our request due to an error in our request: {e}");
        error.details = None;
        error
    })?;
    Ok(value)
}

/// Applies a merge patch.
pub fn merge(current: &Value, patch: &Value) -> Result<Value> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("a merge patch must be a JSON object"));
    }
    let mut value = current.clone();
    json_patch::merge(&mut value, patch);
    Ok(value)
}

/// Applies a strategic merge patch.
pub fn strategic(node: Node<'_>, current: &Value, patch: &Value) -> Result<Value> {
    let (Some(_), Some(patch)) = (current.as_object(), patch.as_object()) else {
        return Err(ApiError::bad_request("a strategic merge patch must be a JSON object"));
    };
    strategic::merge_objects(Some(node), current.clone(), patch)
}
