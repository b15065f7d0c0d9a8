//! TCP proxying and choosing a filter chain by the first bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::*;

fn chain(rule: &str, cluster: &str) -> String {
    format!(
        r#"{{ filter_chain_match: {{ {rule} }}, filters: [ {{ name: tcp, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: {cluster} }} }} ] }}"#
    )
}

fn tcp_listener(chains: &[String], more: &str) -> String {
    format!(
        "{{ name: tcp, address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}, filter_chains: [ {} ]{more} }}",
        chains.join(", ")
    )
}

const INSPECT: &str = r#", listener_filters: [ { name: envoy.filters.listener.tls_inspector }, { name: envoy.filters.listener.http_inspector } ], continue_on_listener_filters_timeout: true, listener_filters_timeout: 0.2s"#;

async fn greeter(greeting: &'static str) -> std::net::SocketAddr {
    raw_server(move |mut stream, _| async move {
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        stream.write_all(&heard).await.unwrap();
    })
    .await
}

async fn half_close(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn bytes_pass_both_ways_and_a_half_close_too() {
    let app = greeter("220 hello\n").await;
    let engine =
        start(&bootstrap_of(&[tcp_listener(&[chain("", "app")], "")], &[cluster("app", app, "")])).await;
    let answer = half_close(engine.listener_address("tcp").unwrap(), b"EHLO\n").await;
    assert_eq!(answer, "220 hello\nEHLO\n");
}

#[tokio::test]
async fn the_first_bytes_choose_the_chain_and_are_not_lost() {
    let (http, other) = (greeter("http:").await, greeter("other:").await);
    let chains = [chain(r#"application_protocols: [ http/1.1, h2c ]"#, "http"), chain("", "other")];
    let clusters = [cluster("http", http, ""), cluster("other", other, "")];
    let engine = start(&bootstrap_of(&[tcp_listener(&chains, INSPECT)], &clusters)).await;
    let address = engine.listener_address("tcp").unwrap();
    assert_eq!(half_close(address, b"GET / HTTP/1.1\r\n\r\n").await, "http:GET / HTTP/1.1\r\n\r\n");
    assert_eq!(half_close(address, b"\x01\x02binary").await, "other:\x01\x02binary");
}

#[tokio::test]
async fn a_protocol_in_which_the_server_speaks_first_goes_on_after_the_time_out() {
    let app = greeter("220 server first\n").await;
    let yaml = bootstrap_of(&[tcp_listener(&[chain("", "app")], INSPECT)], &[cluster("app", app, "")]);
    let engine = start(&yaml).await;
    let mut client = TcpStream::connect(engine.listener_address("tcp").unwrap()).await.unwrap();
    let mut greeting = [0; 17];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 server first\n");
}

#[tokio::test]
async fn a_connection_without_a_chain_or_a_host_is_closed() {
    let empty = "{ name: hole, type: STATIC, connect_timeout: 1s }".to_owned();
    let listeners = [tcp_listener(&[chain("destination_port: 1", "hole")], "")];
    let engine = start(&bootstrap_of(&listeners, std::slice::from_ref(&empty))).await;
    assert_eq!(talk(engine.listener_address("tcp").unwrap(), b"x").await, "");
    let engine = start(&bootstrap_of(&[tcp_listener(&[chain("", "hole")], "")], &[empty])).await;
    assert_eq!(talk(engine.listener_address("tcp").unwrap(), b"").await, "");
}
