//! Waiting for `/readyz`, which the API server answers to anybody.

use super::programs::Programs;
use crate::pki::Pki;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A cold start on two busy cores.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the API is ready.
pub async fn wait(pki: &Pki, address: SocketAddr, programs: &mut Programs) -> Result<()> {
    let tls = TlsConnector::from(pki.client_config()?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        programs.check()?;
        match ask(&tls, address).await {
            Ok(StatusCode::OK) => return Ok(()),
            other if Instant::now() > deadline => {
                bail!("kube-apiserver is not ready after {} s: {other:?}", PATIENCE.as_secs())
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn ask(tls: &TlsConnector, address: SocketAddr) -> Result<StatusCode> {
    let stream = TcpStream::connect(address).await?;
    let stream = tls.connect(ServerName::from(address.ip()), stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request =
        Request::get("/readyz").header(header::HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let status = sender.send_request(request).await.context("no answer")?.status();
    connection.abort();
    Ok(status)
}
