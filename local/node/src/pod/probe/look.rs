//! One look at a container: an HTTP request, a connection, a command, a health call.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Target;
use crate::container::runtime;

pub(super) async fn check(target: &Target, probe: &Probe) -> Result<(), String> {
    if let Some(action) = &probe.http_get {
        http_get(target, action).await
    } else if let Some(action) = &probe.tcp_socket {
        let address = address(target, action.host.as_deref(), &action.port)?;
        TcpStream::connect(address).await.map(|_| ()).map_err(|e| format!("dial tcp {address}: {e}"))
    } else if let Some(action) = &probe.exec {
        exec(target, action).await
    } else if let Some(action) = &probe.grpc {
        grpc(target, action).await
    } else {
        Ok(())
    }
}

/// Runs a postStart or preStop hook to its end; a server that it asks has so long to answer.
pub async fn hook(target: &Target, handler: &LifecycleHandler, patience: Duration) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        exec(target, action).await
    } else if let Some(action) = &handler.http_get {
        let asked = tokio::time::timeout(patience, http_get(target, action)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())))
    } else if handler.tcp_socket.is_some() {
        Err("tcpSocket is not a hook that Kubernetes runs: use exec, httpGet or sleep".into())
    } else if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        Ok(())
    }
}

/// A port by number or by the container's name for it.
fn port_of(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())
        }
    };
    number.and_then(|n| u16::try_from(n).ok()).ok_or_else(|| format!("the container has no port {port:?}"))
}

fn address(target: &Target, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
    let ip = match host.filter(|h| !h.is_empty()) {
        Some(host) => host.parse().map_err(|_| format!("the host {host:?} is not an address"))?,
        None => target.address,
    };
    Ok(SocketAddr::new(ip, port_of(&target.container, port)?))
}

async fn http_get(target: &Target, action: &HTTPGetAction) -> Result<(), String> {
    let address = address(target, action.host.as_deref(), &action.port)?;
    let path = action.path.as_deref().unwrap_or("/");
    let stream = TcpStream::connect(address).await.map_err(|e| format!("dial tcp {address}: {e}"))?;
    let mut request =
        http::Request::get(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
            .header("host", address.to_string())
            .header("user-agent", "kube-probe/1.34")
            .header("accept", "*/*")
            .header("connection", "close");
    for header in action.http_headers.iter().flatten() {
        if header.name.eq_ignore_ascii_case("host")
            && let Some(headers) = request.headers_mut()
        {
            headers.remove("host");
        }
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Full::<Bytes>::default()).map_err(|e| e.to_string())?;
    let secure = action.scheme.as_deref() == Some("HTTPS");
    let status = if secure {
        let stream = super::tls::connect(stream, address.ip()).await;
        let stream = stream.map_err(|e| format!("Get \"https://{address}{path}\": {e}"))?;
        send(stream, request).await
    } else {
        send(stream, request).await
    };
    let scheme = if secure { "https" } else { "http" };
    let status = status.map_err(|e| format!("Get \"{scheme}://{address}{path}\": {e}"))?;
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: http::Request<Full<Bytes>>,
) -> Result<u16, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = AbortOnDrop(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await?;
    drop(connection);
    Ok(response.status().as_u16())
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exec(target: &Target, action: &ExecAction) -> Result<(), String> {
    let mut process = target.process.clone();
    process.argv = action.command.clone().unwrap_or_default();
    let output = runtime::exec_output(target.init, process).await.map_err(|e: io::Error| e.to_string())?;
    if output.code == 0 {
        Ok(())
    } else {
        Err(format!("command exited with {}: {}", output.code, output.text.trim()))
    }
}

/// `grpc.health.v1.Health/Check`, written out: the message is one string, the answer one number.
async fn grpc(target: &Target, action: &GRPCAction) -> Result<(), String> {
    let address =
        SocketAddr::new(target.address, u16::try_from(action.port).map_err(|_| "the port is not a number")?);
    let stream = TcpStream::connect(address).await.map_err(|e| format!("dial tcp {address}: {e}"))?;
    let text = |e: hyper::Error| format!("health check of {address}: {e}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(text)?;
    let _connection = AbortOnDrop(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(grpc_question(action.service.as_deref().unwrap_or_default())))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let body = response.into_body().collect().await.map_err(text)?.to_bytes();
    if grpc_serving(&body) { Ok(()) } else { Err(format!("the service at {address} is not serving")) }
}

pub(super) fn grpc_question(service: &str) -> Bytes {
    let service = service.as_bytes().get(..127.min(service.len())).unwrap_or_default();
    let message =
        if service.is_empty() { Vec::new() } else { [&[0x0a, service.len() as u8], service].concat() };
    let length = (message.len() as u32).to_be_bytes();
    [[0].as_slice(), &length, &message].concat().into()
}

/// Whether the framed answer says SERVING (field 1 = 1).
pub(super) fn grpc_serving(body: &[u8]) -> bool {
    matches!(body, [0, _, _, _, _, 0x08, 1, ..])
}
