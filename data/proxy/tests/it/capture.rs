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
