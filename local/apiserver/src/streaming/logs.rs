//! `pods/log`.

use super::{Target, container};
use crate::api::Call;
use crate::error::{ApiError, FieldError, Result};
use crate::kubelet::LogOptions;
use axum::body::Body;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

/// Streams a container's log as plain text.
pub async fn handle(call: &Call, target: &Target, pod: &Value) -> Result<Response<Body>> {
    let options = options(call, container(call, pod)?)?;
    let stream = target.kubelet.logs(&target.pod, options).await?;
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn options(call: &Call, container: String) -> Result<LogOptions> {
    let query = &call.query;
    let invalid = |field: &str, value: &str, detail: &str| {
        let error = FieldError::invalid(field, &json!(value), detail);
        ApiError::invalid("PodLogOptions", "", &call.path.name, &[error])
    };
    let number = |field: &str| match query.get(field) {
        "" => Ok(None),
        text => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| invalid(field, text, "must be greater than or equal to 0")),
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 4).min(i64::from(u32::MAX));
            Some(jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds))
        }
        (None, "") => None,
        (None, time) => {
            Some(time.parse().map_err(|_| invalid("sinceTime", time, "must be an RFC 3339 time"))?)
        }
    };
    Ok(LogOptions {
        container,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail: number("tailLines")?,
        since,
        timestamps: query.flag("timestamps"),
        limit_bytes: number("limitBytes")?,
    })
}
