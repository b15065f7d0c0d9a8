//! What looks at an object between decoding and storing: built-in admission and webhooks.

pub mod builtin;
pub mod webhook;

pub use builtin::{mutate as builtin_mutate, validate as builtin_validate};

use crate::api::Call;
use crate::error::Result;
use serde_json::Value;

/// Runs the mutating webhooks.
pub async fn mutate(
    call: &Call,
    operation: &'static str,
    value: Value,
    old: Option<&Value>,
) -> Result<Value> {
    webhook::mutate(call, operation, value, old).await
}

/// Runs the validating webhooks.
pub async fn validate(
    call: &Call,
    operation: &'static str,
    value: &Value,
    old: Option<&Value>,
) -> Result<()> {
    webhook::validate(call, operation, value, old).await
}

/// Asks all webhooks about a deletion, mutating ones too: they have nothing to change, but may refuse.
pub async fn delete(call: &Call, old: &Value) -> Result<()> {
    webhook::mutate(call, "DELETE", Value::Null, Some(old)).await?;
    webhook::validate(call, "DELETE", &Value::Null, Some(old)).await
}
