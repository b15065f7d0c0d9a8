//! Admission webhooks.

use crate::api::Call;
use crate::error::Result;
use serde_json::Value;

/// The HTTPS client for webhooks.
#[derive(Default)]
pub struct Client {}

/// Runs the mutating webhooks.
pub async fn mutate(
    _call: &Call,
    _operation: &'static str,
    value: Value,
    _old: Option<&Value>,
) -> Result<Value> {
    Ok(value)
}

/// Runs the validating webhooks.
pub async fn validate(
    _call: &Call,
    _operation: &'static str,
    _value: &Value,
    _old: Option<&Value>,
) -> Result<()> {
    Ok(())
}
