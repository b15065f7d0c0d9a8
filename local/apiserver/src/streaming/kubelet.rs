//! The kubelet's HTTPS API, as far as API servers use it for logs, exec, attach and port-forward.
//!
//! Our own API server calls its [`Kubelet`] in process; Kubernetes' own (see [`crate::kubernetes`]) knows only this.

use super::{Target, exec, logs, portforward};
use crate::error::{ApiError, Result};
use crate::kubelet::{Kubelet, PodRef};
use crate::request::{Query, decode};
use axum::body::Body;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until the task is dropped. The TLS settings must demand a client certificate: who reaches a kubelet runs anything.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, kubelet: Arc<dyn Kubelet>) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the kubelet cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, kubelet) = (acceptor.clone(), kubelet.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                return;
            };
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let kubelet = kubelet.clone();
                async move { Ok::<_, Infallible>(handle(kubelet, request.map(Body::new)).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the kubelet ended");
            }
        });
    }
}

/// Kubelets answer in plain text; the API server makes a Status of it.
async fn handle(kubelet: Arc<dyn Kubelet>, request: Request<Body>) -> Response<Body> {
    route(kubelet, request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error.to_string()));
        *response.status_mut() = error.code;
        response
    })
}

async fn route(kubelet: Arc<dyn Kubelet>, request: Request<Body>) -> Result<Response<Body>> {
    let (parts, _) = request.into_parts();
    let path = parts.uri.path().trim_matches('/').split('/').map(decode).collect::<Option<Vec<_>>>();
    let path = path.ok_or_else(ApiError::no_such_path)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let (what, namespace, name, container) = match path.as_slice() {
        [what, namespace, name] => (what, namespace, name, String::new()),
        [what, namespace, name, container] => (what, namespace, name, container.clone()),
        _ => return Err(ApiError::no_such_path()),
    };
    // The path has no uid: the API server has looked the pod up by its name a moment ago.
    let pod = PodRef { namespace: namespace.clone(), name: name.clone(), uid: String::new() };
    let target = Target { pod, kubelet };
    match what.as_str() {
        "containerLogs" => logs::handle(&target, &query, container).await,
        "exec" | "attach" => {
            let options = exec::options(&query, exec::KUBELETS, container, what == "attach")?;
            exec::handle(&target, options, parts).await
        }
        "portForward" => portforward::handle(target, &query, parts).await,
        _ => Err(ApiError::no_such_path()),
    }
}

#[cfg(test)]
mod tests;
