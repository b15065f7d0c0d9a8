//! Header values with Envoy's variables, such as `%DOWNSTREAM_REMOTE_ADDRESS%`.

use http::HeaderValue;

use crate::base::reject::{Compiled, Reject};
use crate::telemetry::LogContext;
use crate::telemetry::access_log::Text;

/// A value that is either known or made for each request.
#[derive(Debug, Clone)]
pub enum Template {
    /// No variables.
    Literal(HeaderValue),
    /// With variables.
    Text(Text),
}

impl Template {
    /// Compiles a value; an unknown variable is an error.
    pub fn compile(field: &str, text: &str) -> Compiled<Self> {
        if text.contains('%') {
            return Ok(Self::Text(Text::compile(text, true).map_err(|reject| reject.at(field))?));
        }
        HeaderValue::from_str(text)
            .map(Self::Literal)
            .map_err(|_| Reject::new(field, "holds characters that a header value must not hold"))
    }

    /// The value for a request; `None` when it cannot be one.
    pub fn render(&self, context: &LogContext<'_>) -> Option<HeaderValue> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Text(text) => {
                let mut out = Vec::new();
                text.write(&mut out, context);
                HeaderValue::from_bytes(&out).ok()
            }
        }
    }
}
