//! One page for Prometheus: the agent's metrics, the proxy's, and the application's.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderMap, Request};
use serde::Deserialize;
use tracing::debug;

use super::metrics::AgentMetrics;
use crate::http_client::{Target, send};
use crate::istiod::Failure;

/// Text format of Prometheus; other formats cannot be joined by writing them one after the other.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// OpenMetrics, given only when all there is speaks it.
const OPEN_METRICS: &str = "application/openmetrics-text";
/// Limit of one source, in bytes.
const MAX_PAGE: usize = 64 << 20;
/// Time limit unless Prometheus tells its own.
const LIMIT: Duration = Duration::from_secs(10);
/// Prometheus tells its time limit in this header, in seconds.
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// Where the application's metrics are: `ISTIO_PROMETHEUS_ANNOTATIONS`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Annotations {
    scrape: String,
    port: String,
    path: String,
}

/// Sources of metrics.
pub struct Scrapes {
    /// The agent's own.
    pub metrics: AgentMetrics,
    /// The proxy's page.
    pub proxy: (Target, String),
    /// The application's page, if it has one.
    pub application: Option<(Target, String)>,
}

/// The joined page.
#[derive(Debug)]
pub struct Page {
    /// Its content type.
    pub content_type: &'static str,
    /// Its text.
    pub body: Bytes,
}

/// The application's page as its annotations tell; `None` when it wants no scrape.
///
/// # Errors
/// When the variable is not the JSON that injection writes.
pub fn application(json: &str, target: impl Fn(u16) -> Target) -> Result<Option<(Target, String)>, String> {
    let annotations: Annotations =
        serde_json::from_str(json).map_err(|error| format!("ISTIO_PROMETHEUS_ANNOTATIONS: {error}"))?;
    if annotations.scrape != "true" {
        return Ok(None);
    }
    let port = if annotations.port.is_empty() { "80" } else { &annotations.port };
    let port = port.parse().map_err(|_| format!("prometheus.io/port={port:?}: expected a port"))?;
    let path = match annotations.path.as_str() {
        "" => "/metrics".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    Ok(Some((target(port), path)))
}

impl Scrapes {
    /// Scrapes all sources at once. A source that fails is left out and counted.
    pub async fn page(&self, headers: &HeaderMap) -> Page {
        self.metrics.scrapes.inc();
        let limit = limit(headers);
        let (proxy, application) = tokio::join!(fetch(&self.proxy, limit, TEXT), async {
            match &self.application {
                Some(source) => Some(fetch(source, limit, TEXT).await),
                None => None,
            }
        });
        let mut body = self.metrics.registry.encode().into_bytes();
        for (name, page) in [("envoy", Some(proxy)), ("application", application)] {
            match page {
                Some(Ok(page)) => append(&mut body, &page),
                Some(Err(error)) => {
                    debug!(source = name, %error, "scrape failed");
                    self.metrics.scrape_failures.get_or_create(&vec![("type", name.to_owned())]).inc();
                }
                None => {}
            }
        }
        Page { content_type: TEXT, body: body.into() }
    }
}

fn append(body: &mut Vec<u8>, page: &[u8]) {
    let page = page.strip_suffix(b"# EOF\n").or(page.strip_suffix(b"# EOF")).unwrap_or(page);
    body.extend_from_slice(page);
    if !page.ends_with(b"\n") {
        body.push(b'\n');
    }
}

fn limit(headers: &HeaderMap) -> Duration {
    let told = headers.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    // A little earlier than Prometheus, so that the others' metrics still arrive.
    told.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds * 0.9).ok()).unwrap_or(LIMIT).min(LIMIT)
}

async fn fetch((target, path): &(Target, String), limit: Duration, accept: &str) -> Result<Bytes, Failure> {
    let request = Request::get(path.as_str())
        .header(HOST, format!("{}:{}", target.host, target.port))
        .header(ACCEPT, accept)
        .body(Bytes::new())?;
    let answer = send(target, request, limit, MAX_PAGE).await?;
    if !answer.status.is_success() {
        return Err(format!("status {}", answer.status).into());
    }
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/") && !kind.starts_with(OPEN_METRICS) {
        return Err(format!("content type {kind:?} cannot be joined; expected text").into());
    }
    Ok(answer.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Dial;

    #[test]
    fn annotations_tell_where_to_scrape() {
        let target = |port| Target { host: "10.0.0.1".into(), port, tls: false, dial: Dial::default() };
        let read = |json: &str| application(json, target).map(|page| page.map(|(t, path)| (t.port, path)));
        assert_eq!(
            read(r#"{"scrape":"true","path":"stats","port":"9080"}"#),
            Ok(Some((9080, "/stats".to_owned())))
        );
        assert_eq!(read(r#"{"scrape":"true"}"#), Ok(Some((80, "/metrics".to_owned()))));
        assert_eq!(read(r#"{"scrape":"false","port":"1"}"#), Ok(None));
        assert!(read(r#"{"scrape":"true","port":"http"}"#).unwrap_err().contains("prometheus.io/port"));
        assert!(read("no").is_err());
    }
}
