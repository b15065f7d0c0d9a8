//! gRPC, WebSocket, CONNECT, trailers, large bodies.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::*;

pub const HTTP2: &str = r#", typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } }"#;
const TO_APP: &str = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;

/// Answers every call with the body it got, then `grpc-status: 0` in trailers.
async fn grpc_echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                assert_eq!(request.headers()["te"], "trailers");
                let body = request.into_body().collect().await?.to_bytes();
                let trailers =
                    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
                let frames = [Ok::<_, hyper::Error>(Frame::data(body)), Ok(Frame::trailers(trailers))];
                let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                Ok::<_, hyper::Error>(response)
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

fn call() -> Request<Full<Bytes>> {
    Request::post("http://app/pkg.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(&b"\0\0\0\0\x02hi"[..]))
        .unwrap()
}

#[tokio::test]
async fn grpc_keeps_its_trailers() {
    let app = grpc_echo().await;
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", app, HTTP2)])).await;
    let seen = send_http2(engine.listener_address("web").unwrap(), call()).await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.body.as_bytes(), b"\0\0\0\0\x02hi");
    assert_eq!(seen.trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn grpc_callers_get_failures_as_a_status() {
    let engine =
        start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", closed_port().await, HTTP2)])).await;
    let seen = send_http2(engine.listener_address("web").unwrap(), call()).await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.header("grpc-status"), Some("14"));
    assert!(seen.header("grpc-message").unwrap().contains("connection failure"));
}

#[tokio::test]
async fn a_websocket_is_joined_to_its_upstream() {
    let app = raw_server(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            )
            .await
            .unwrap();
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.unwrap();
        stream.write_all(&ping).await.unwrap();
    })
    .await;
    let allowed = ", upgrade_configs: [ { upgrade_type: websocket } ]";
    let engine = start(&bootstrap_of(&[listener(TO_APP, allowed)], &[cluster("app", app, "")])).await;
    let mut client = TcpStream::connect(engine.listener_address("web").unwrap()).await.unwrap();
    let ask = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    client.write_all(b"ping").await.unwrap();
    let mut echo = String::new();
    client.read_to_string(&mut echo).await.unwrap();
    assert_eq!(echo, "ping");
}

#[tokio::test]
async fn an_upgrade_that_is_not_configured_is_refused() {
    let app = Upstream::echo().await;
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", app.address, "")])).await;
    let ask = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, close\r\nupgrade: websocket\r\n\r\n";
    let answer = talk(engine.listener_address("web").unwrap(), ask).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn connect_opens_a_tunnel() {
    let app = raw_server(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("CONNECT far.away:443 HTTP/1.1"), "{head}");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.write_all(b"through").await.unwrap();
    })
    .await;
    let route = r#"{ match: { connect_matcher: {} }, route: { cluster: app } }"#;
    let allowed = ", upgrade_configs: [ { upgrade_type: CONNECT } ]";
    let engine = start(&bootstrap_of(&[listener(route, allowed)], &[cluster("app", app, "")])).await;
    let ask = b"CONNECT far.away:443 HTTP/1.1\r\nhost: far.away:443\r\n\r\n";
    let answer = talk(engine.listener_address("web").unwrap(), ask).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("through"), "{answer}");
}

#[tokio::test]
async fn a_get_keeps_a_body_of_unknown_length() {
    let app = Upstream::echo().await;
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", app.address, "")])).await;
    let ask = b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nmoney\r\n0\r\n\r\n";
    let answer = talk(engine.listener_address("web").unwrap(), ask).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\n\nmoney"), "{answer}");
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let app = Upstream::start(|request| async move { Response::new(Full::from(request.into_body())) }).await;
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", app.address, "")])).await;
    let body = "x".repeat(3 << 20);
    let request = Request::post("http://app/").body(Full::from(body.clone())).unwrap();
    let seen = send_http2(engine.listener_address("web").unwrap(), request).await;
    assert_eq!(seen.body.len(), body.len());
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    let app = Upstream::echo().await;
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", app.address, "")])).await;
    let mut client = TcpStream::connect(engine.listener_address("web").unwrap()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    client.write_all(head).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 100"));
    client.write_all(b"hi").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("expect:"), "{answer}");
}

#[tokio::test]
async fn requests_that_are_too_large_or_malformed_are_refused() {
    let app = Upstream::echo().await;
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", app.address, "")])).await;
    let web = engine.listener_address("web").unwrap();
    let huge = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    assert!(talk(web, huge.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(
        talk(web, b"GET / HTTP/1.1\r\nhost: a\r\nbro\x01ken: 1\r\n\r\n").await.starts_with("HTTP/1.1 400")
    );
    assert!(talk(web, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(app.requests(), 0);
}
