//! Upstream connections that several requests share or wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::*;
use crate::protocols::HTTP2;

const TO_APP: &str = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;

/// A HTTP/2 server that allows one stream at a time on a connection and takes its time.
async fn one_stream_at_a_time() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|_| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::from("ok")))
            });
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.max_concurrent_streams(1).serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn requests_beyond_the_streams_of_the_only_connection_wait_for_their_turn() {
    let limits = format!("{HTTP2}, circuit_breakers: {{ thresholds: [ {{ max_connections: 1 }} ] }}");
    let clusters = [cluster("app", one_stream_at_a_time().await, &limits)];
    let engine = start_one(&bootstrap_of(&[listener(TO_APP, "")], &clusters)).await;
    let web = engine.listener_address("web").unwrap();
    // The first tells the pool how many streams the server allows.
    assert_eq!(send(web, get("/")).await.status, 200);
    let mut running: JoinSet<_> = (0..4).map(|_| send(web, get("/"))).collect();
    while let Some(seen) = running.join_next().await {
        assert_eq!(seen.unwrap().status, 200);
    }
}

#[tokio::test]
async fn those_who_wait_for_a_connection_that_fails_do_not_dial_one_after_another() {
    let dials = Arc::new(AtomicUsize::new(0));
    let counter = dials.clone();
    let app = raw_server(move |stream, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            // No handshake comes of it.
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(stream);
        }
    })
    .await;
    let tls = r#", transport_socket: { name: tls, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {} } }"#;
    let clusters = [cluster("app", app, &format!("{HTTP2}{tls}"))];
    let engine = start_one(&bootstrap_of(&[listener(TO_APP, "")], &clusters)).await;
    let web = engine.listener_address("web").unwrap();
    let mut running: JoinSet<_> = (0..8).map(|_| send(web, get("/"))).collect();
    while let Some(seen) = running.join_next().await {
        assert_eq!(seen.unwrap().status, 503);
    }
    let dials = dials.load(Ordering::SeqCst);
    assert!(dials < 8, "{dials} connections were tried");
}
