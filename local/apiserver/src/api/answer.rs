//! An answer before it is HTTP.

use crate::error::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// Status, JSON body and warnings.
#[derive(Debug)]
pub struct Answer {
    code: StatusCode,
    body: Bytes,
    warnings: Vec<String>,
    retry_after: Option<u64>,
}

impl Answer {
    /// An answer with a JSON value.
    pub fn json(code: StatusCode, value: &Value) -> Self {
        Self::bytes(code, serde_json::to_vec(value).unwrap_or_default().into())
    }

    /// An answer with JSON that is already encoded.
    pub fn bytes(code: StatusCode, body: Bytes) -> Self {
        Answer { code, body, warnings: Vec::new(), retry_after: None }
    }

    /// 200 with a JSON value.
    pub fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// A `Status` object for an error.
    pub fn error(error: &ApiError) -> Self {
        let mut answer = Self::json(error.code, &error.to_status());
        answer.retry_after = error.details.as_ref().and_then(|d| d.get("retryAfterSeconds")?.as_u64());
        answer
    }

    /// Sends warnings along.
    pub fn with_warnings(mut self, warnings: &[String]) -> Self {
        self.warnings = warnings.to_vec();
        self
    }

    /// As HTTP.
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        for warning in self.warnings {
            if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", quoted(&warning))) {
                headers.append(header::WARNING, value);
            }
        }
        response
    }
}

fn quoted(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
}
