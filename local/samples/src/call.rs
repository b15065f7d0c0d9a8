//! One outgoing request on one new connection: the samples do not pool, so that every call is balanced anew.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The most a sample reads of an answer, in bytes.
const LARGEST_ANSWER: usize = 4 << 20;

/// Headers that Bookinfo's services pass on, so that traces join and user-based routing works.
const PASSED_ON: &[&str] = &[
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "sw8",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
    "end-user",
];

/// The headers of an incoming request that the next hop should see.
pub fn passed_on(incoming: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        if let Some(value) = incoming.get(*name) {
            headers.insert(*name, value.clone());
        }
    }
    headers
}

/// Where a service answers.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Target {
    /// The service from `<NAME>_HOSTNAME` (with SERVICES_DOMAIN) and `<NAME>_SERVICE_PORT`, as Bookinfo reads them.
    pub fn from_env(name: &str) -> Self {
        let upper = name.to_uppercase();
        let domain = crate::serve::env("SERVICES_DOMAIN", "");
        let host = crate::serve::env(&format!("{upper}_HOSTNAME"), name);
        let host = if domain.is_empty() { host } else { format!("{host}.{domain}") };
        Self { host, port: crate::serve::env_port(&format!("{upper}_SERVICE_PORT"), 9080) }
    }
}

/// GETs a path, giving up after `timeout`.
///
/// # Errors
/// When the target cannot be reached, breaks HTTP, or does not answer in time. Any status is a success.
pub async fn get(
    target: &Target,
    path: &str,
    headers: HeaderMap,
    timeout: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let answer = tokio::time::timeout(timeout, exchange(target, path, headers)).await;
    answer.with_context(|| format!("{}:{} did not answer within {timeout:?}", target.host, target.port))?
}

async fn exchange(target: &Target, path: &str, headers: HeaderMap) -> anyhow::Result<(StatusCode, Bytes)> {
    let address = (target.host.as_str(), target.port);
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {}:{}", target.host, target.port))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::get(path)
        .header("host", format!("{}:{}", target.host, target.port))
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    request.headers_mut().extend(headers);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    connection.abort();
    Ok((status, body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes()))
}
