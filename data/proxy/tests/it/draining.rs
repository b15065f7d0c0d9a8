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
