//! Server-side apply and managed fields.

use crate::api::Call;
use crate::error::{ApiError, Result};
use bytes::Bytes;
use serde_json::Value;

/// Decodes an apply configuration (YAML or JSON).
pub fn config(_call: &Call, body: &Bytes) -> Result<Value> {
    yaml_serde::from_slice(body).map_err(|e| ApiError::bad_request(format!("error decoding YAML: {e}")))
}

/// Merges a configuration into an object; returns the new object and its managed fields.
pub fn apply(_call: &Call, _old: Option<&Value>, _config: &Value) -> Result<(Value, Value)> {
    Err(ApiError::method_not_allowed())
}

/// Books what a write other than apply changed.
pub fn track(_call: &Call, _value: &mut Value, _old: Option<&Value>) {}

/// Settles what apply booked with what admission changed.
pub fn settle(_call: &Call, _value: &mut Value, _old: Option<&Value>, _managed: Value) {}
