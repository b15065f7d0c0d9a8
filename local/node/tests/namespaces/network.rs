//! Pods, services and the host, connected.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use meltemi_node::container::log::Query;
use meltemi_node::container::runtime::Running;
use meltemi_node::net::PodNetwork;
use meltemi_node::proxy::table::{Affinity, Port, Protocol, Table};
use meltemi_node::proxy::{egress, forward::Forwarder, nft, program};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::{World, text};

const ANSWER: &str = r#"
use Socket; $| = 1;
socket(S, PF_INET, SOCK_STREAM, 6); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
bind(S, sockaddr_in(80, INADDR_ANY)) or die "bind $!"; listen(S, 9); print "ready\n";
while (my $a = accept(C, S)) { my (undef, $ip) = sockaddr_in($a); print C "$ARGV[0] saw " . inet_ntoa($ip) . "\n"; close C; }
"#;
const ASK: &str = r#"
use Socket; socket(S, PF_INET, SOCK_STREAM, 6);
connect(S, sockaddr_in($ARGV[1], inet_aton($ARGV[0]))) or do { print "refused: $!\n"; exit 1 }; print <S>;
"#;

async fn server(world: &World, name: &str) -> (PodNetwork, Running) {
    let pod = world.pod().await;
    let (running, log) = world.start(pod.namespace(), &["perl", "-e", ANSWER, name]).await;
    let mut lines = log.read(Query { follow: true, ..Query::default() });
    assert_eq!(lines.recv().await.unwrap().unwrap(), "ready\n");
    (pod, running)
}

fn port(address: &str, endpoints: &[Ipv4Addr]) -> Port {
    Port {
        name: "default/test".into(),
        address: address.parse().unwrap(),
        protocol: Protocol::Tcp,
        port: 8080,
        node_port: Some(30080),
        affinity: Affinity::None,
        endpoints: endpoints.iter().map(|ip| (*ip, 80)).collect(),
    }
}

async fn apply(ports: Vec<Port>) {
    nft::apply(&program::render(&Table { ports })).await.unwrap();
}

pub(crate) async fn pods_reach_each_other_by_cluster_ip(world: World) {
    let (one, _keep) = server(&world, "one").await;
    let (two, running) = server(&world, "two").await;
    apply(vec![
        port("10.96.7.7", &[one.address()]),
        Port { node_port: None, ..port("10.96.7.8", &[]) },
        Port {
            affinity: Affinity::ClientIp,
            node_port: None,
            ..port("10.96.7.9", &[one.address(), two.address()])
        },
        Port { node_port: None, ..port("10.96.7.10", &[one.address(), two.address()]) },
    ])
    .await;
    let client = world.pod().await;
    let (asked, log) = world.start(client.namespace(), &["perl", "-e", ASK, "10.96.7.7", "8080"]).await;
    assert_eq!(asked.wait().await, 0);
    assert_eq!(text(&log).await, format!("one saw {}\n", client.address()));
    let (_, log) = world.start(client.namespace(), &["perl", "-e", ASK, "10.96.7.8", "8080"]).await;
    assert_eq!(text(&log).await, "refused: Connection refused\n");
    let (_, log) = world.start(client.namespace(), &["perl", "-e", ASK, "10.96.200.1", "1"]).await;
    assert_eq!(text(&log).await, "refused: Connection refused\n");
    // A pod that reaches itself through the service sees the node, not itself.
    let (_, log) = world.start(one.namespace(), &["perl", "-e", ASK, "10.96.7.7", "8080"]).await;
    assert_eq!(text(&log).await, "one saw 10.244.0.1\n");
    // From the cluster's own namespace, as the API server calls webhooks; and the node port.
    for address in ["10.96.7.7:8080", "10.244.0.1:30080"] {
        assert_eq!(ask(address).await, "one saw 10.244.0.1\n");
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.insert(ask("10.96.7.10:8080").await);
    }
    let sticky = ask("10.96.7.9:8080").await;
    for _ in 0..8 {
        assert_eq!(ask("10.96.7.9:8080").await, sticky);
    }
    running.signal(nix::sys::signal::Signal::SIGKILL);
}

async fn ask(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Where [`crate::outside`] listens.
fn outside_address(data_dir: &Path) -> Option<SocketAddrV4> {
    std::fs::read_to_string(data_dir.join("outside")).ok()?.trim().parse().ok()
}

pub(crate) async fn pods_reach_the_outside_through_the_host(world: World) {
    apply(Vec::new()).await;
    tokio::task::spawn_local(egress::serve(world.host.clone()));
    let Some(outside) = outside_address(&world.data_dir) else {
        eprintln!("this machine has no address but its loopback: the way to the outside is not tested");
        return;
    };
    let client = world.pod().await;
    let ask = |ip: String, port: String| {
        let (world, network) = (world.clone(), &client);
        async move { text(&world.start(network.namespace(), &["perl", "-e", ASK, &ip, &port]).await.1).await }
    };
    assert_eq!(ask(outside.ip().to_string(), outside.port().to_string()).await, "the outside\n");
    // A port where nobody listens: the connection was taken here, and is then reset.
    assert_eq!(ask(outside.ip().to_string(), "9".into()).await, "");
    // The host's loopback is not the outside.
    assert_eq!(ask("169.254.1.1".into(), outside.port().to_string()).await, "refused: Connection refused\n");
}

pub(crate) async fn host_ports_reach_pods(world: World) {
    let (pod, _running) = server(&world, "pod").await;
    apply(vec![port("10.96.7.7", &[pod.address()])]).await;
    let listener: TcpListener = world.host.listen(0).await.unwrap();
    let forwarder = Forwarder::start(listener, "10.96.7.7:8080".parse().unwrap()).unwrap();
    let mut stream = world.host.connect(forwarder.local()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "pod saw 10.244.0.1\n");
    let taken = world.host.listen(forwarder.local().port()).await.unwrap_err().to_string();
    assert!(taken.contains("already in use"), "{taken}");
}
