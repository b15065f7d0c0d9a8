//! Application probes: the kubelet asks us, we ask the application from within the pod, past its mTLS.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, HOST, USER_AGENT};
use serde::Deserialize;

use crate::http_client::{Answer, Target, send};
use crate::istiod::Failure;
use crate::net::Dial;

/// Kubernetes' default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// A body longer than this is not read; the status is what counts.
const MAX_BODY: usize = 64 << 10;

/// The original probes, by the path they were rewritten to: `ISTIO_KUBE_APP_PROBERS`.
#[derive(Debug, Default)]
pub struct Probers {
    probes: BTreeMap<String, Prober>,
    host: String,
    dial: Dial,
}

/// `ISTIO_KUBE_APP_PROBERS` is wrong.
#[derive(Debug, thiserror::Error)]
#[error("ISTIO_KUBE_APP_PROBERS: {0}")]
pub struct ProbeError(String);

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prober {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    path: Option<String>,
    port: u16,
    host: Option<String>,
    scheme: Option<String>,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
struct TcpSocket {
    port: u16,
    host: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Grpc {
    port: u16,
    service: Option<String>,
}

impl Probers {
    /// Probes of the application at `host`, the pod's own address.
    ///
    /// # Errors
    /// When the JSON is not what injection writes.
    pub fn new(json: Option<&str>, host: String, mark: Option<u32>) -> Result<Self, ProbeError> {
        let probes: BTreeMap<String, Prober> = match json {
            Some(json) => serde_json::from_str(json).map_err(|error| ProbeError(error.to_string()))?,
            None => BTreeMap::new(),
        };
        for (path, prober) in &probes {
            if prober.http_get.is_none() && prober.tcp_socket.is_none() && prober.grpc.is_none() {
                return Err(ProbeError(format!("{path}: expected httpGet, tcpSocket or grpc")));
            }
        }
        Ok(Self { probes, host, dial: Dial { mark, from_passthrough: true } })
    }

    /// Runs the probe behind `path`; `None` when there is none.
    pub async fn run(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let prober = self.probes.get(path)?;
        let limit = prober.timeout_seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        let result = if let Some(get) = &prober.http_get {
            self.http(get, headers, limit).await
        } else if let Some(tcp) = &prober.tcp_socket {
            self.tcp(tcp, limit).await
        } else if let Some(grpc) = &prober.grpc {
            self.grpc(grpc, limit).await
        } else {
            return None;
        };
        Some(result.unwrap_or_else(|error| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }))
    }

    fn target(&self, host: Option<&str>, port: u16, tls: bool) -> Target {
        let host = host.filter(|host| !host.is_empty()).unwrap_or(&self.host);
        Target { host: host.to_owned(), port, tls, dial: self.dial }
    }

    async fn http(&self, get: &HttpGet, incoming: &HeaderMap, limit: Duration) -> Result<Response, Failure> {
        let tls = get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let target = self.target(get.host.as_deref(), get.port, tls);
        let path = match get.path.as_deref().unwrap_or("/") {
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let mut request = Request::get(path).body(Bytes::new())?;
        let headers = request.headers_mut();
        for (name, value) in incoming {
            // These belong to the kubelet's connection with us.
            if !matches!(*name, HOST | CONNECTION) {
                headers.append(name, value.clone());
            }
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("kube-probe/istio"));
        headers.insert(HOST, format!("{}:{}", target.host, target.port).parse()?);
        for header in &get.http_headers {
            headers.insert(HeaderName::try_from(&header.name)?, header.value.parse()?);
        }
        let answer = send(&target, request, limit, MAX_BODY).await?;
        Ok(pass_on(answer))
    }

    async fn tcp(&self, tcp: &TcpSocket, limit: Duration) -> Result<Response, Failure> {
        let target = self.target(tcp.host.as_deref(), tcp.port, false);
        tokio::time::timeout(limit, target.dial.connect(&target.host, target.port))
            .await
            .map_err(|_| format!("no connection to port {} within {limit:?}", tcp.port))??;
        Ok(StatusCode::OK.into_response())
    }

    async fn grpc(&self, grpc: &Grpc, limit: Duration) -> Result<Response, Failure> {
        let target = self.target(None, grpc.port, false);
        let service = grpc.service.clone().unwrap_or_default();
        let status =
            tokio::time::timeout(limit, super::grpc_health::check(&target, service)).await.map_err(
                |_| format!("no answer of the health service on port {} within {limit:?}", grpc.port),
            )??;
        match status {
            super::grpc_health::SERVING => Ok(StatusCode::OK.into_response()),
            other => Err(format!("the health service answers {other}, expected 1 (SERVING)").into()),
        }
    }
}

fn pass_on(answer: Answer) -> Response {
    (answer.status, answer.body).into_response()
}
