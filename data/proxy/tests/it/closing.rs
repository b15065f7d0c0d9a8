//! Connections whose filter chain is replaced: none stays with the old one, whatever its client does.

use std::time::Duration;

use meltemi_proto::type_url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::control::{Control, bootstrap};
use crate::harness::*;

const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
const TO_APP: &str = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;

/// A connection to `address` on which a client has said that much.
async fn said(address: std::net::SocketAddr, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream
}

#[tokio::test]
async fn nobody_keeps_a_replaced_chain() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(SWITCHING).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let more = ", drain_timeout: 0.1s, upgrade_configs: [ { upgrade_type: websocket } ]";
    let control = Control::new();
    control.set(type_url::CLUSTER, &cluster("app", app, ""));
    control.set(type_url::LISTENER, &listener(TO_APP, more));
    let engine = start(&bootstrap(control.serve().await, true, None)).await;
    let web = engine.listener_address("web").unwrap();

    let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut tunnel = said(web, ask).await;
    assert!(read_head(&mut tunnel).await.starts_with("HTTP/1.1 101"));
    let silent = said(web, b"").await;
    let hesitating = said(web, b"GET / HT").await;
    let between = said(web, b"GET / HTTP/1.0\r\n").await;
    // The workers have to have seen them all with the old chain.
    tokio::time::sleep(Duration::from_millis(300)).await;

    let new = r#"{ match: { prefix: "/" }, direct_response: { status: 200 } }"#;
    control.set(type_url::LISTENER, &listener(new, more));
    for mut stream in [tunnel, silent, hesitating, between] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open");
    }
}
