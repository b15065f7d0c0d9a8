//! `pods/log`.

use super::Target;
use crate::error::{ApiError, FieldError, Result};
use crate::kubelet::LogOptions;
use crate::request::Query;
use axum::body::Body;
use http::{HeaderValue, Response, header};
use serde_json::json;

/// Streams a container's log as plain text.
pub async fn handle(target: &Target, query: &Query, container: String) -> Result<Response<Body>> {
    let options = options(query, &target.pod.name, container)?;
    let stream = target.kubelet.logs(&target.pod, options).await?;
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn options(query: &Query, pod: &str, container: String) -> Result<LogOptions> {
    let invalid = |field: &str, value: &str, detail: &str| {
        let error = FieldError::invalid(field, &json!(value), detail);
        ApiError::invalid("PodLogOptions", "", pod, &[error])
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
