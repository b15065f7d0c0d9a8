//! Redirected connections: original destinations and the hand-off between listeners, in a network namespace of their own.

use std::process::Command;

use crate::harness::*;

/// Redirects everything to 10.96.0.0/16 to port 15001, as the capture rules do.
const RULES: &[&str] = &[
    "ip link set lo up",
    "ip address add 10.1.1.1/32 dev lo",
    "ip route add 10.96.0.0/16 dev lo src 10.1.1.1",
    "nft add table ip capture",
    "nft add chain ip capture out { type nat hook output priority -100 ; }",
    "nft add rule ip capture out ip daddr 10.96.0.0/16 tcp dport 1-65535 redirect to :15001",
];

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.is_ok_and(|status| status.success()), "{command}");
}

#[test]
fn redirected_connections_find_their_listener() {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "capture::inside", "--ignored", "--nocapture"])
        .output()
        .expect("unshare (util-linux) is needed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn says(text: &str) -> String {
    format!(
        r#"{{ match: {{ prefix: "/" }}, direct_response: {{ status: 200, body: {{ inline_string: "{text}" }} }} }}"#
    )
}

fn unbound(name: &str, address: &str, port: u16) -> String {
    listener(&says(name), "")
        .replace("name: web, address", "name: NAME, bind_to_port: false, address")
        .replace("NAME", name)
        .replace("address: 127.0.0.1, port_value: 0", &format!("address: {address}, port_value: {port}"))
}

/// Runs in the namespace that the test above makes.
#[tokio::test]
#[ignore = "started in a network namespace by redirected_connections_find_their_listener"]
async fn inside() {
    RULES.iter().for_each(|rule| run(rule));
    let app = Upstream::echo().await;
    let outbound = r#"{ name: virtualOutbound, use_original_dst: true, address: { socket_address: { address: 0.0.0.0, port_value: 15001 } },
        filter_chains: [ { filters: [ { name: tcp, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: app } } ] } ] }"#;
    let listeners = [
        outbound.to_owned(),
        unbound("one-service", "10.96.0.5", 80),
        unbound("any-service", "0.0.0.0", 9080),
    ];
    let _engine = start(&bootstrap_of(&listeners, &[cluster("app", app.address, "")])).await;
    let ask = async |address: &str| {
        let asked = send(address.parse().unwrap(), get("/x"));
        tokio::time::timeout(std::time::Duration::from_secs(10), asked).await.expect("an answer in time").body
    };
    assert_eq!(ask("10.96.0.5:80").await, "one-service");
    assert_eq!(ask("10.96.1.1:9080").await, "any-service");
    assert!(ask("10.96.1.1:1234").await.starts_with("GET /x\n"));
    // Not redirected: nobody hands it on, and the listener's own chain takes it.
    assert!(ask("127.0.0.1:15001").await.starts_with("GET /x\n"));
}

/// Hands everything to 10.96.0.0/16 to the transparent socket on port 15006, but not what the proxy sends in its clients' names.
const TRANSPARENT: &[&str] = &[
    "ip link set lo up",
    "ip address add 10.1.1.7/32 dev lo",
    "ip address add 10.1.1.8/32 dev lo",
    "ip route add local 10.96.0.0/16 dev lo",
    "nft add table ip capture",
    "nft add chain ip capture in { type filter hook prerouting priority -150 ; }",
    "nft add rule ip capture in meta mark 1337 return",
    "nft add rule ip capture in ip daddr 10.96.0.0/16 tcp dport 80 tproxy to :15006 accept",
];

#[test]
fn transparent_connections_keep_both_addresses() {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "capture::inside_transparent", "--ignored", "--nocapture"])
        .output()
        .expect("unshare (util-linux) is needed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Asks from an address of one's own, over `stream` when it is there.
async fn ask_from(from: &str, to: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(to.parse().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// Runs in the namespace that the test above makes.
#[tokio::test]
#[ignore = "started in a network namespace by transparent_connections_keep_both_addresses"]
async fn inside_transparent() {
    TRANSPARENT.iter().for_each(|rule| run(rule));
    tokio::spawn(async {
        use tokio::io::AsyncWriteExt;
        let app = tokio::net::TcpListener::bind("10.96.0.5:80").await.unwrap();
        loop {
            let (mut stream, peer) = app.accept().await.unwrap();
            tokio::spawn(async move {
                // Kept alive, so that a pool that mixed clients up would be found out.
                while !read_head(&mut stream).await.is_empty() {
                    let body = peer.ip().to_string();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let inbound = listener(r#"{ match: { prefix: "/" }, route: { cluster: app } }"#, "").replace(
        "name: web, address: { socket_address: { address: 127.0.0.1, port_value: 0 } }",
        r#"name: virtualInbound, transparent: true, address: { socket_address: { address: 0.0.0.0, port_value: 15006 } },
        listener_filters: [ { name: envoy.filters.listener.original_dst }, { name: envoy.filters.listener.original_src,
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc, mark: 1337 } } ]"#,
    );
    assert!(inbound.contains("transparent"), "{inbound}");
    // The cluster's own source address gives way to the client's.
    let app = r#"{ name: app, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, connect_timeout: 5s,
        upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 0 } } }"#;
    let _engine = start(&bootstrap_of(&[inbound], &[app.to_owned()])).await;
    for _ in 0..3 {
        for client in ["10.1.1.7", "10.1.1.8"] {
            let asked = ask_from(client, "10.96.0.5:80", "/");
            let seen = tokio::time::timeout(std::time::Duration::from_secs(10), asked).await.unwrap();
            assert_eq!(seen, client);
        }
    }
}
