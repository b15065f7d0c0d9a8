//! Requests wait a moment for the only host to come back.

use crate::harness::*;
use crate::retries::with_retries;

/// A server that can go away and come back.
async fn answering(listener: tokio::net::TcpListener, answers: usize) {
    use tokio::io::AsyncWriteExt;
    for _ in 0..answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn requests_wait_for_the_only_host_to_come_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let yaml = bootstrap_of(
        &[super::harness::listener(&with_retries("connect-failure"), "")],
        &[cluster("app", address, "")],
    );
    let engine = start(&yaml).await;
    let web = engine.listener_address("web").unwrap();
    let served = tokio::spawn(answering(listener, 1));
    assert_eq!(send(web, get("/")).await.status, 200);
    served.await.unwrap();
    // Nobody listens now. Three: so many retries at a time are allowed by default.
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(send(web, get("/")))).collect();
    let stats = || async {
        let admin = engine.admin_address().unwrap();
        send(admin, get("/stats?filter=cluster.app.upstream_rq_retry$")).await.body
    };
    // Each has been refused more often than the policy's retries alone would be.
    while stats().await.trim_end().rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0) < 12 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let back = tokio::spawn(answering(socket.listen(64).unwrap(), 3));
    for request in waiting {
        let seen = request.await.unwrap();
        assert_eq!((seen.status, seen.body.as_str()), (200, "ok"));
    }
    back.await.unwrap();
}

#[tokio::test]
async fn a_host_that_never_answered_fails_at_once_and_a_route_without_retries_too() {
    let dead = closed_port().await;
    let engine =
        start(&bootstrap_of(&[listener(&with_retries("connect-failure"), "")], &[cluster("app", dead, "")]))
            .await;
    let seen = send(engine.listener_address("web").unwrap(), get("/")).await;
    assert_eq!((seen.status, seen.header("x-envoy-attempt-count")), (503, None));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let engine =
        start(&bootstrap_of(&[super::harness::listener(plain, "")], &[cluster("app", address, "")])).await;
    let web = engine.listener_address("web").unwrap();
    let served = tokio::spawn(answering(listener, 1));
    assert_eq!(send(web, get("/")).await.status, 200);
    served.await.unwrap();
    assert_eq!(send(web, get("/")).await.status, 503);
    let admin = engine.admin_address().unwrap();
    let stats = send(admin, get("/stats?filter=cluster.app.upstream_cx_connect_fail$")).await.body;
    assert!(stats.contains(": 1"), "{stats}");
}
