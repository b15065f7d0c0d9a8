//! HTTP to a port of a pod that listens on its loopback only, through the API server's port-forward.

use anyhow::{Context as _, bail};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

/// The largest answer that is read: a dump of a very large mesh.
const LARGEST: usize = 512 << 20;

/// One port of one pod.
pub struct Port {
    pods: Api<Pod>,
    pod: String,
    namespace: String,
    port: u16,
}

impl Port {
    /// The port of a pod.
    pub fn new(client: &Client, namespace: &str, pod: &str, port: u16) -> Self {
        let pods = Api::namespaced(client.clone(), namespace);
        Port { pods, pod: pod.to_owned(), namespace: namespace.to_owned(), port }
    }

    /// The body of `GET path`.
    ///
    /// # Errors
    /// When the port cannot be reached or the answer is not 200.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        self.request(Method::GET, path).await
    }

    /// The body of `POST path`.
    ///
    /// # Errors
    /// As [`Port::get`].
    pub async fn post(&self, path: &str) -> anyhow::Result<String> {
        self.request(Method::POST, path).await
    }

    async fn request(&self, method: Method, path: &str) -> anyhow::Result<String> {
        let place = format!("port {} of pod {}.{}", self.port, self.pod, self.namespace);
        let exchange = self.exchange(method, path);
        let (status, body) = exchange.await.with_context(|| format!("cannot reach {place}"))?;
        if status != StatusCode::OK {
            bail!("{path} on {place} answered {status}: {}", body.trim());
        }
        Ok(body)
    }

    async fn exchange(&self, method: Method, path: &str) -> anyhow::Result<(StatusCode, String)> {
        let mut forward = self.pods.portforward(&self.pod, &[self.port]).await?;
        let stream = forward.take_stream(self.port).context("no stream was opened")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        driver.abort();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
