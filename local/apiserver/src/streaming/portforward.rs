//! `pods/portforward`.

use super::wire::{Input, Output, Pipe};
use super::{Target, choose, is_spdy, is_websocket, spdy, spdy_response, upgrade_required, websocket};
use crate::error::{ApiError, Result};
use crate::request::Query;
use axum::body::Body;
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Connections that wait for their second stream; more than this is no honest client.
const MAX_HALF_OPEN: usize = 256;
const PROTOCOL: &str = "portforward.k8s.io";

/// Forwards connections to ports of a pod.
pub async fn handle(target: Target, query: &Query, mut parts: Parts) -> Result<Response<Body>> {
    let headers = parts.headers.clone();
    let (websocket, spdy) = (is_websocket(&headers), is_spdy(&headers));
    let upgrade =
        parts.extensions.remove::<OnUpgrade>().filter(|_| websocket || spdy).ok_or_else(upgrade_required)?;
    if spdy && !websocket {
        choose(&headers, "x-stream-protocol-version", &[PROTOCOL]).ok_or_else(|| {
            ApiError::custom(
                http::StatusCode::FORBIDDEN,
                "Forbidden",
                "unable to upgrade: the stream protocol must be portforward.k8s.io",
            )
        })?;
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                serve_spdy(TokioIo::new(upgraded), target).await;
            }
        });
        return Ok(spdy_response(PROTOCOL));
    }
    if let Ok((_, response)) = websocket::accept(&headers, websocket::TUNNEL_PROTOCOLS) {
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                serve_spdy(websocket::tunnel(TokioIo::new(upgraded)).await, target).await;
            }
        });
        return Ok(response);
    }
    // `ports` is what clients say; of API servers a kubelet hears `port`.
    let ports = ["ports", "port"].into_iter().flat_map(|name| query.all(name)).flat_map(|p| p.split(','));
    let ports: Vec<u16> = ports
        .map(|p| {
            p.parse()
                .map_err(|_| ApiError::bad_request(format!("query parameter \"ports\": {p:?} is no port")))
        })
        .collect::<Result<_>>()?;
    if ports.is_empty() || ports.len() > 64 {
        return Err(ApiError::bad_request("query parameter \"ports\" is required"));
    }
    let (protocol, response) = websocket::accept(&headers, websocket::CHANNEL_PROTOCOLS)?;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let pairs = websocket::port_streams(TokioIo::new(upgraded), protocol, &ports).await;
            for (port, pipe, error) in pairs {
                tokio::spawn(forward(target.clone(), port, pipe, error, Ends::WithThePod));
            }
        }
    });
    Ok(response)
}

/// Each connection is a pair of streams, `error` and `data`, with the same request id.
async fn serve_spdy(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, target: Target) {
    let mut connection = spdy::serve(io);
    let packets = connection.packets();
    let mut waiting: HashMap<String, spdy::Stream> = HashMap::new();
    while let Some(stream) = connection.accept().await {
        let id = match stream.header("requestid") {
            "" => stream.header("port").to_owned(),
            id => id.to_owned(),
        };
        let Some(other) = waiting.remove(&id) else {
            if waiting.len() >= MAX_HALF_OPEN {
                return;
            }
            waiting.insert(id, stream);
            continue;
        };
        let (error, data) =
            if stream.header("streamtype") == "error" { (stream, other) } else { (other, stream) };
        let port: Option<u16> = data.header("port").parse().ok();
        let output = Output::new(error.id, packets.clone());
        let Some(port) = port else {
            output.send("the stream has no valid port header".into()).await;
            output.finish().await;
            continue;
        };
        let pipe = Pipe::new(data.input, data.id, packets.clone());
        // The client closes its side of the error stream at once.
        drop::<Input>(error.input);
        tokio::spawn(forward(target.clone(), port, pipe, output, Ends::EachAlone));
    }
}

/// When a forwarded connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Either side ends its direction.
    EachAlone,
    /// WebSocket channels cannot be ended one by one: when the pod is done, so is the client.
    WithThePod,
}

async fn forward(target: Target, port: u16, pipe: Pipe, error: Output, ends: Ends) {
    match target.kubelet.port_forward(&target.pod, port).await {
        Ok(connection) => join(pipe, connection, error, ends).await,
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {}, uid : {why}", target.pod.uid);
            error.send(text.into()).await;
            let mut pipe = pipe;
            let _ = pipe.shutdown().await;
            error.finish().await;
        }
    }
}

/// Copies both ways. However a forwarded connection ends, it has ended: errors are no news to anybody.
async fn join(
    pipe: impl AsyncRead + AsyncWrite,
    connection: impl AsyncRead + AsyncWrite,
    error: Output,
    ends: Ends,
) {
    let (mut from_client, mut to_client) = tokio::io::split(pipe);
    let (mut from_pod, mut to_pod) = tokio::io::split(connection);
    let upward = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
    };
    let downward = async {
        let _ = tokio::io::copy(&mut from_pod, &mut to_client).await;
        let _ = to_client.shutdown().await;
        // kubectl lets go of its side only when the error stream has ended too.
        error.finish().await;
    };
    match ends {
        Ends::EachAlone => {
            tokio::join!(upward, downward);
        }
        Ends::WithThePod => {
            tokio::pin!(upward, downward);
            tokio::select! {
                () = &mut downward => {}
                // The client has only stopped to send.
                () = &mut upward => downward.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn the_error_stream_ends_with_the_pods_side() {
        let (packets, mut sent) = tokio::sync::mpsc::channel(8);
        let (client, pipe) = tokio::io::duplex(64);
        let (pod, connection) = tokio::io::duplex(64);
        let joined = tokio::spawn(join(pipe, connection, Output::new(7, packets), Ends::EachAlone));
        let (mut client_read, client_write) = tokio::io::split(client);
        drop(pod);
        let mut rest = Vec::new();
        client_read.read_to_end(&mut rest).await.unwrap();
        assert!(
            sent.recv().await.is_some(),
            "the end of the error stream, while the client still holds its side"
        );
        drop((client_read, client_write));
        joined.await.unwrap();
    }

    #[tokio::test]
    async fn a_channel_ends_with_the_pods_side() {
        let (packets, mut sent) = tokio::sync::mpsc::channel(8);
        let (client, pipe) = tokio::io::duplex(64);
        let (pod, connection) = tokio::io::duplex(64);
        let joined = tokio::spawn(join(pipe, connection, Output::new(7, packets), Ends::WithThePod));
        drop(pod);
        joined.await.unwrap();
        assert!(
            sent.recv().await.is_some() && sent.recv().await.is_none(),
            "nothing keeps the connection open"
        );
        drop(client);
    }
}
