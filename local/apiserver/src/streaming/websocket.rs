//! WebSocket transport: numbered channels for exec and (old) port-forward, and a tunnel for SPDY (new port-forward).

use super::exec::Streams;
use super::wire::{Input, Output, Packet, Pipe};
use super::{choose, has_token};
use crate::error::{ApiError, Result};
use crate::kubelet::ExecOptions;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// Sub-protocols of exec and attach, best first.
pub const EXEC_PROTOCOLS: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];
/// SPDY in WebSocket messages.
pub const TUNNEL_PROTOCOLS: &[&str] = &["SPDY/3.1+portforward.k8s.io"];
/// Port-forward by channels.
pub const CHANNEL_PROTOCOLS: &[&str] =
    &["v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];

const MAX_MESSAGE: usize = 1024 * 1024;
/// Pieces that may wait for a slow reader.
const QUEUE: usize = 32;
/// v5: the client ends a channel.
const CLOSE_CHANNEL: u8 = 255;

/// Whether the protocol's error channel carries a Status.
pub fn reports_status(protocol: &str) -> bool {
    protocol.starts_with("v4") || protocol.starts_with("v5")
}

fn is_base64(protocol: &str) -> bool {
    protocol.contains("base64")
}

/// Checks the handshake and chooses the sub-protocol; the 101 to answer with.
pub fn accept(headers: &HeaderMap, ours: &[&'static str]) -> Result<(&'static str, Response<Body>)> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| ApiError::bad_request("the WebSocket handshake has no Sec-WebSocket-Key"))?;
    let offers = headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL);
    let plain = "channel.k8s.io";
    let protocol = match choose(headers, "sec-websocket-protocol", ours) {
        Some(protocol) => protocol,
        // Clients that offer nothing speak the first version.
        None if !offers && ours.contains(&plain) => plain,
        None => {
            return Err(ApiError::bad_request(format!(
                "no known WebSocket sub-protocol; use one of {}",
                ours.join(", ")
            )));
        }
    };
    if !has_token(headers, header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(ApiError::bad_request("the WebSocket version must be 13"));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = response.headers_mut();
    out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if offers {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        out.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok((protocol, response))
}

async fn socket<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// The streams of an exec: channel 0 is stdin, 1 stdout, 2 stderr, 3 the error, 4 the terminal's size.
pub async fn exec_streams<S>(io: S, protocol: &'static str, options: &ExecOptions) -> Streams
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut inputs = HashMap::new();
    let mut input = |channel: u8, on: bool| {
        on.then(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            inputs.insert(channel, sender);
            receiver
        })
    };
    let (stdin, resize) = (input(0, options.stdin), input(4, options.tty));
    let packets = start(io, inputs, is_base64(protocol)).await;
    let output = |channel: u32, on: bool| on.then(|| Output::new(channel, packets.clone()));
    Streams {
        stdin,
        resize,
        stdout: output(1, options.stdout || options.tty),
        stderr: output(2, options.stderr),
        error: Output::new(3, packets.clone()),
        packets,
    }
}

/// The streams of an old-style port-forward: for the i-th port, channel 2i carries data and 2i+1 errors; each begins
/// with the port.
pub async fn port_streams<S>(io: S, protocol: &'static str, ports: &[u16]) -> Vec<(u16, Pipe, Output)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut inputs = HashMap::new();
    let mut receivers: Vec<(u16, u8, Input)> = Vec::new();
    for (port, channel) in ports.iter().zip((0u8..).step_by(2)) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        inputs.insert(channel, sender);
        receivers.push((*port, channel, receiver));
    }
    let packets = start(io, inputs, is_base64(protocol)).await;
    let mut out = Vec::new();
    for (port, channel, receiver) in receivers {
        let (data, error) = (u32::from(channel), u32::from(channel) + 1);
        for channel in [data, error] {
            let _ = packets.send(Packet::Data(channel, Bytes::copy_from_slice(&port.to_le_bytes()))).await;
        }
        let pipe = Pipe::new(receiver, data, packets.clone());
        out.push((port, pipe, Output::new(error, packets.clone())));
    }
    out
}

type Inputs = HashMap<u8, mpsc::Sender<Bytes>>;

/// Starts the two tasks of a connection; what is sent to the returned channel goes out.
async fn start<S>(io: S, inputs: Inputs, base64: bool) -> mpsc::Sender<Packet>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sink, stream) = socket(io).await.split();
    let (packets, queue) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write(sink, queue, base64));
    tokio::spawn(async move {
        read(stream, inputs, base64).await;
        // The client has gone: whoever still sends must notice.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        writer.abort();
    });
    packets
}

async fn read<S>(mut stream: SplitStream<WebSocketStream<S>>, mut inputs: Inputs, base64: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = stream.next().await {
        let data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text.as_bytes().to_vec()),
            Message::Close(_) => return,
            _ => continue,
        };
        let Some((&first, rest)) = data.split_first() else { continue };
        let (channel, content) = if base64 {
            let Ok(content) = B64.decode(rest) else { return };
            (first.wrapping_sub(b'0'), Bytes::from(content))
        } else {
            (first, data.slice(1..))
        };
        if channel == CLOSE_CHANNEL {
            if let Some(closed) = content.first() {
                inputs.remove(closed);
            }
            continue;
        }
        let gone = match inputs.get(&channel) {
            Some(input) if !content.is_empty() => input.send(content).await.is_err(),
            _ => false,
        };
        if gone {
            inputs.remove(&channel);
        }
    }
}

async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut queue: mpsc::Receiver<Packet>,
    base64: bool,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(packet) = queue.recv().await {
        let message = match packet {
            Packet::Data(channel, bytes) => framed(channel, &bytes, base64),
            Packet::Fin(_) => continue,
            Packet::Close => break,
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
    goodbye(&mut sink).await;
}

/// Clients take any close but a normal one as an error.
async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(sink: &mut SplitSink<WebSocketStream<S>, Message>) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = sink.send(Message::Close(Some(frame))).await;
    let _ = sink.close().await;
}

fn framed(channel: u32, bytes: &[u8], base64: bool) -> Message {
    let channel = u8::try_from(channel).unwrap_or(CLOSE_CHANNEL);
    if base64 {
        return Message::Text(format!("{}{}", char::from(b'0' + channel), B64.encode(bytes)).into());
    }
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(channel);
    out.put_slice(bytes);
    Message::Binary(out.freeze())
}

/// A byte stream whose pieces travel as binary messages.
pub async fn tunnel<S>(io: S) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (near, far) = tokio::io::duplex(256 * 1024);
    let (mut sink, mut stream) = socket(io).await.split();
    let (mut from, mut to) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let written = match message {
                Message::Binary(data) => to.write_all(&data).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if written.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = vec![0u8; 32 * 1024];
        while let Ok(n) = from.read(&mut buffer).await {
            if n == 0 || sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
                break;
            }
        }
        goodbye(&mut sink).await;
    });
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ports_are_forwarded_in_base64() {
        let (client, server) = tokio::io::duplex(4096);
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let (_, mut pipe, _error) = port_streams(server, "base64.channel.k8s.io", &[80]).await.remove(0);
        // Channel 0 carries data, 1 errors; each begins with the port.
        for expected in ["0UAA=", "1UAA="] {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Text(expected.into()));
        }
        client.send(Message::Text("0aGVsbG8=".into())).await.unwrap();
        let mut hello = [0; 5];
        pipe.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        pipe.write_all(b"world").await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Text("0d29ybGQ=".into()));
    }
}
