//! The end of an engine, without an error that a client could see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Response;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::harness::*;

#[tokio::test]
async fn clients_that_open_a_new_connection_when_told_see_no_error() {
    let app = Upstream::start(|_| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Response::new("ok".into())
    })
    .await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let engine = start(&bootstrap_of(&[listener(route, "")], &[cluster("app", app.address, "")])).await;
    let web = engine.listener_address("web").unwrap();
    let leaving = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        clients.spawn(client(web, leaving.clone()));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let drained = engine.drain();
    tokio::pin!(drained);
    // For a while nobody knows that the endpoint is leaving; then clients stop coming.
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut drained).await.is_err());
    leaving.store(true, Ordering::SeqCst);
    drained.await;
    while let Some(outcome) = clients.join_next().await {
        assert!(outcome.unwrap() > 0);
    }
    assert!(TcpStream::connect(web).await.is_err());
}

/// Asks again and again on kept connections; every answer must be 200.
async fn client(web: std::net::SocketAddr, leaving: Arc<AtomicBool>) -> usize {
    let mut asked = 0;
    while !leaving.load(Ordering::SeqCst) {
        let io = TokioIo::new(TcpStream::connect(web).await.expect("a connection is accepted"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        while !leaving.load(Ordering::SeqCst) && sender.ready().await.is_ok() {
            let seen = read(sender.send_request(get("/")).await.expect("an answer")).await;
            assert_eq!(seen.status, 200);
            asked += 1;
            if seen.header("connection") == Some("close") {
                break;
            }
        }
    }
    asked
}

/// An app that begins an answer and ends it when told.
async fn slow_app(finish: Arc<tokio::sync::Semaphore>) -> Upstream {
    Upstream::start(move |_| {
        let finish = finish.clone();
        async move {
            finish.acquire().await.unwrap().forget();
            Response::new("whole".into())
        }
    })
    .await
}

#[tokio::test]
async fn http2_streams_end_whole_and_new_ones_go_elsewhere() {
    let finish = Arc::new(tokio::sync::Semaphore::new(0));
    let app = slow_app(finish.clone()).await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let engine = start(&bootstrap_of(&[listener(route, "")], &[cluster("app", app.address, "")])).await;
    let web = engine.listener_address("web").unwrap();
    let io = TokioIo::new(TcpStream::connect(web).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = tokio::spawn(sender.send_request(get("/")));
    while app.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let drained = engine.drain();
    tokio::pin!(drained);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut drained).await.is_err(),
        "a stream is open"
    );
    finish.add_permits(1);
    assert_eq!(read(answer.await.unwrap().unwrap()).await.body, "whole");
    // GOAWAY was sent: the connection ends by itself, though the client would keep it.
    connection.await.unwrap().unwrap();
    assert!(sender.ready().await.is_err());
    drained.await;
}

#[tokio::test]
async fn a_websocket_is_open_until_its_end_or_the_drain_time() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let allowed = ", upgrade_configs: [ { upgrade_type: websocket } ]";
    let engine = start(&bootstrap_of(&[listener(route, allowed)], &[cluster("app", app, "")])).await;
    let web = engine.listener_address("web").unwrap();
    let open = || async {
        let mut client = TcpStream::connect(web).await.unwrap();
        let ask = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        client.write_all(ask).await.unwrap();
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
        client
    };
    let (mut leaves, mut stays) = (open().await, open().await);
    let drained = engine.drain();
    tokio::pin!(drained);
    for client in [&mut leaves, &mut stays] {
        let mut echo = [0; 4];
        client.write_all(b"ping").await.unwrap();
        tokio::select! {
            () = &mut drained => panic!("two are open"),
            read = client.read_exact(&mut echo) => assert_eq!((read.unwrap(), &echo), (4, b"ping")),
        }
    }
    drop(leaves);
    drained.await;
    // The time is over: what is left is cut.
    assert!(matches!(stays.read(&mut [0; 4]).await, Ok(0) | Err(_)));
}
