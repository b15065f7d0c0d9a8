//! Carrying a review to a webhook over HTTPS.

use crate::object::{int, list, text};
use crate::server::Core;
use crate::store::key;
use base64::Engine;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer that is read.
const MAX_ANSWER: usize = 10 * 1024 * 1024;

/// TLS configurations by CA bundle.
#[derive(Default)]
pub struct Client {
    configs: parking_lot::Mutex<HashMap<String, Arc<rustls::ClientConfig>>>,
}

/// Why a webhook could not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to call webhook: {0}")]
pub struct CallError(String);

/// Where a webhook is.
struct Target {
    /// What TLS verifies and `Host` says.
    host: String,
    /// What is connected to.
    address: String,
    path: String,
    /// For messages.
    url: String,
}

/// Posts a review; the answer's JSON.
pub async fn post(core: &Core, hook: &Value, review: &Value, timeout: Duration) -> Result<Value, CallError> {
    let config = hook.get("clientConfig").cloned().unwrap_or_default();
    let url = match service_url(&config) {
        Some(url) => url,
        None => text(&config, "/url").to_owned(),
    };
    let shown = format!("{url}?timeout={}s", timeout.as_secs());
    let failed = |why: String| CallError(format!("Post {shown:?}: {why}"));
    let target = target(core, &config, url).map_err(failed)?;
    let tls = core.webhooks.config(text(&config, "/caBundle")).map_err(failed)?;
    let body = serde_json::to_vec(review).map_err(|e| failed(e.to_string()))?;
    match tokio::time::timeout(timeout, exchange(&target, tls, body, timeout)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed("context deadline exceeded".into())),
    }
}

fn service_url(config: &Value) -> Option<String> {
    let service = config.get("service").filter(|s| s.is_object())?;
    let port = int(service, "/port").unwrap_or(443);
    let path = text(service, "/path").trim_start_matches('/');
    Some(format!("https://{}.{}.svc:{port}/{path}", text(service, "/name"), text(service, "/namespace")))
}

fn target(core: &Core, config: &Value, url: String) -> Result<Target, String> {
    let uri: http::Uri = url.parse().map_err(|e| format!("{url:?} is not a URL: {e}"))?;
    if uri.scheme_str() != Some("https") {
        return Err("webhooks are called by https only".into());
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let service = config.get("service").filter(|s| s.is_object());
    let address = match service {
        None => format!("{}:{port}", uri.host().unwrap_or_default()),
        Some(service) => format!("{}:{port}", cluster_ip(core, service)?),
    };
    Ok(Target { host, address, path, url })
}

/// The service's address; a service without ready endpoints is said so at once, as connecting would only time out.
fn cluster_ip(core: &Core, service: &Value) -> Result<String, String> {
    let (namespace, name) = (text(service, "/namespace"), text(service, "/name"));
    let stored = core.store.get("/services", &key(namespace, name));
    let stored = stored.ok_or_else(|| format!("service {name:?} not found"))?;
    let slices = core.store.list("discovery.k8s.io/endpointslices", &format!("{namespace}/")).items;
    let own =
        |s: &Value| s.pointer("/metadata/labels/kubernetes.io~1service-name").is_some_and(|v| v == name);
    let is_ready = |e: &Value| e.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let ready = slices
        .iter()
        .filter(|(_, s)| own(&s.value))
        .any(|(_, s)| list(&s.value, "/endpoints").iter().any(is_ready));
    if !ready {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    match text(&stored.value, "/spec/clusterIP") {
        "" | "None" => Err(format!("service {name:?} has no cluster IP")),
        ip => Ok(ip.to_owned()),
    }
}

impl Client {
    fn config(&self, ca_bundle: &str) -> Result<Arc<rustls::ClientConfig>, String> {
        if let Some(found) = self.configs.lock().get(ca_bundle) {
            return Ok(found.clone());
        }
        let pem = base64::engine::general_purpose::STANDARD
            .decode(ca_bundle)
            .map_err(|e| format!("caBundle is not base64: {e}"))?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
            roots.add(certificate).map_err(|e| format!("caBundle: {e}"))?;
        }
        if roots.is_empty() {
            return Err("tls: failed to verify certificate: x509: certificate signed by unknown authority (the webhook's caBundle is empty)".into());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let mut configs = self.configs.lock();
        // Bundles change rarely; old ones are let go all at once.
        if configs.len() >= 32 {
            configs.clear();
        }
        configs.insert(ca_bundle.to_owned(), config.clone());
        Ok(config)
    }
}

async fn exchange(
    target: &Target,
    tls: Arc<rustls::ClientConfig>,
    body: Vec<u8>,
    timeout: Duration,
) -> Result<Value, String> {
    let stream = TcpStream::connect(&target.address)
        .await
        .map_err(|e| format!("dial tcp {}: {}", target.address, reason(&e)))?;
    let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|e| tls_reason(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let separator = if target.path.contains('?') { '&' } else { '?' };
    let request = Request::post(format!("{}{separator}timeout={}s", target.path, timeout.as_secs()))
        .header(header::HOST, &target.host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| format!("{}: {e}", target.url))?;
    let answer = receive(sender.send_request(request).await.map_err(|e| e.to_string())?).await;
    connection.abort();
    answer
}

async fn receive(response: http::Response<hyper::body::Incoming>) -> Result<Value, String> {
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?.to_bytes();
    if !status.is_success() {
        let text: String = String::from_utf8_lossy(&body).chars().take(256).collect();
        return Err(format!(
            "an error on the server ({:?}) has prevented the request from succeeding ({status})",
            text.trim()
        ));
    }
    serde_json::from_slice(&body).map_err(|e| format!("the webhook's answer is not JSON: {e}"))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        _ => error.to_string(),
    }
}

fn tls_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority".into();
    }
    format!("tls: failed to verify certificate or to shake hands: {text}")
}
