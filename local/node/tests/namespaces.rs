//! Tests in real namespaces. The test program is its own daemon: it launches itself, as `meltemi up` does, and the
//! cases run as process 1 inside.

use std::ffi::OsString;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use meltemi_node::container::log::{Log, Query};
use meltemi_node::container::runtime::{self, Io, IoWish, Running};
use meltemi_node::container::spec::{Container, Process};
use meltemi_node::host_ports::HostPorts;
use meltemi_node::launch::{self, Daemon, LaunchOptions, Outcome, Report};
use meltemi_node::net::{Ipam, PodNetwork, pod_cidr};
use meltemi_node::proxy::table::{Affinity, Port, Protocol, Table};
use meltemi_node::proxy::{egress, forward::Forwarder, nft, program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Case = (&'static str, fn(World) -> Pin<Box<dyn Future<Output = ()>>>);

#[derive(Clone)]
struct World {
    data_dir: PathBuf,
    host: HostPorts,
    ipam: std::sync::Arc<Ipam>,
}

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = launch::hidden(&args) {
        std::process::exit(code);
    }
    if args.first().is_some_and(|a| a == launch::DAEMON) {
        std::process::exit(daemon(Path::new(&args[1])));
    }
    if args.iter().any(|a| a == "--list") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = LaunchOptions {
        data_dir: dir.path().into(),
        daemon_args: vec![dir.path().display().to_string()],
        detach: false,
    };
    let mut ready = false;
    let outcome = launch::start(&options, &mut |report| match report {
        Report::Ready(_) => ready = true,
        Report::Progress(line) => println!("{line}"),
        Report::Failed(reason) => eprintln!("{reason}"),
    });
    match outcome {
        Ok(Outcome::Exited(0)) if ready => {}
        other => panic!("namespace tests failed: {other:?}"),
    }
    assert!(std::fs::read_dir(dir.path().join("run")).unwrap().next().is_none(), "mounts were left behind");
    assert_eq!(launch::running(dir.path()), None);
}

fn daemon(data_dir: &Path) -> i32 {
    let Daemon { host, reporter } = match launch::enter(data_dir) {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let cases: &[Case] = &[
        ("containers_run_and_report_their_end", |w| Box::pin(containers_run_and_report_their_end(w))),
        ("a_missing_program_is_named", |w| Box::pin(a_missing_program_is_named(w))),
        ("signals_reach_the_program", |w| Box::pin(signals_reach_the_program(w))),
        ("exec_sees_the_container", |w| Box::pin(exec_sees_the_container(w))),
        ("terminals_work", |w| Box::pin(terminals_work(w))),
        ("pods_reach_each_other_by_cluster_ip", |w| Box::pin(pods_reach_each_other_by_cluster_ip(w))),
        ("pods_reach_the_outside_through_the_host", |w| Box::pin(pods_reach_the_outside_through_the_host(w))),
        ("host_ports_reach_pods", |w| Box::pin(host_ports_reach_pods(w))),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = World { data_dir: data_dir.into(), host, ipam: Ipam::new(pod_cidr()).into() };
    let local = tokio::task::LocalSet::new();
    let failed = local.block_on(&runtime, async {
        let mut failed = 0;
        for (name, case) in cases {
            let begun = Instant::now();
            let outcome = tokio::task::spawn_local(case(world.clone()));
            let outcome = tokio::time::timeout(Duration::from_secs(30), outcome).await;
            let good = matches!(outcome, Ok(Ok(())));
            failed += usize::from(!good);
            reporter.report(Report::Progress(format!(
                "test {name} ... {} ({} ms)",
                if good { "ok" } else { "FAILED" },
                begun.elapsed().as_millis()
            )));
        }
        failed
    });
    reporter.report(Report::Ready(serde_json::Value::Null));
    i32::from(failed > 0)
}

impl World {
    fn container(&self, argv: &[&str]) -> Container {
        let root = self.data_dir.join("run").join(format!("{}", fastrand::u64(..)));
        std::fs::create_dir_all(&root).unwrap();
        Container {
            hostname: "tester".into(),
            root,
            binary: self.data_dir.join("run/meltemi"),
            applets: vec!["applet".into()],
            process: Process {
                argv: argv.iter().map(|s| s.to_string()).collect(),
                env: vec![
                    ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
                    ("HOME".into(), "/root".into()),
                ],
                cwd: "/work".into(),
                ids_mapped: false,
                ..Process::default()
            },
            ..Container::default()
        }
    }

    async fn pod(&self) -> PodNetwork {
        PodNetwork::create(self.ipam.take().unwrap()).await.unwrap()
    }

    async fn start(&self, network: BorrowedFd<'_>, argv: &[&str]) -> (Running, Log) {
        let wish = IoWish { stdin: false, terminal: false };
        let (running, io) = runtime::run(self.container(argv), network, wish).await.unwrap();
        let log = Log::create(self.data_dir.join(format!("{}.log", running.pid()))).unwrap();
        runtime::record(io, &log);
        (running, log)
    }

    async fn output(&self, argv: &[&str]) -> (i32, String) {
        let pod = self.pod().await;
        let (running, log) = self.start(pod.namespace(), argv).await;
        (running.wait().await, text(&log).await)
    }
}

async fn text(log: &Log) -> String {
    log.ended().await;
    let mut lines = log.read(Query::default());
    let mut text = String::new();
    while let Some(part) = lines.recv().await {
        text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
    }
    text
}

async fn containers_run_and_report_their_end(world: World) {
    let script =
        "echo out; echo err >&2; hostname; pwd; id -u; ls /usr/local/bin; ls -d /proc/[0-9]*; exit 3";
    let (code, text) = world.output(&["sh", "-c", script]).await;
    assert_eq!(code, 3, "{text}");
    for line in ["out", "err", "tester", "/work", "0", "applet", "meltemi", "/proc/1"] {
        assert!(text.lines().any(|l| l == line), "{line:?} is missing in {text}");
    }
    assert_eq!(world.output(&["sh", "-c", "kill -9 $$"]).await.0, 137);
    let (code, text) = world.output(&["sh", "-c", "touch /usr/bin/x; touch /tmp/y && echo wrote"]).await;
    assert!(code == 0 && text.contains("Read-only") && text.contains("wrote"), "{text}");
}

async fn a_missing_program_is_named(world: World) {
    let pod = world.pod().await;
    let wish = IoWish { stdin: false, terminal: false };
    let error =
        runtime::run(world.container(&["nonesuch"]), pod.namespace(), wish).await.err().unwrap().to_string();
    assert!(error.contains("nonesuch") && error.contains("not found in $PATH"), "{error}");
}

async fn signals_reach_the_program(world: World) {
    let pod = world.pod().await;
    let (running, _) = world.start(pod.namespace(), &["sleep", "1000"]).await;
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait().await, 143);
    let (running, _) =
        world.start(pod.namespace(), &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).await;
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(running.wait().await, 137);
}

async fn exec_sees_the_container(world: World) {
    let pod = world.pod().await;
    let (running, _) = world.start(pod.namespace(), &["sleep", "1000"]).await;
    let mut process = world.container(&["sh", "-c", "cat /proc/2/comm; hostname; exit 4"]).process;
    process.cwd = "/".into();
    let output = runtime::exec_output(running.pid(), process).await.unwrap();
    assert_eq!((output.code, output.text.as_str()), (4, "sleep\ntester\n"));
}

async fn terminals_work(world: World) {
    let pod = world.pod().await;
    let mut container = world.container(&["sh", "-c", "stty size; read line; echo got $line"]);
    container.process.terminal = true;
    let wish = IoWish { stdin: true, terminal: true };
    let (running, io) = runtime::run(container, pod.namespace(), wish).await.unwrap();
    let Io::Terminal(mut terminal) = io else { panic!("no terminal") };
    terminal.write_all(b"hello\n").await.unwrap();
    let mut text = String::new();
    terminal.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("got hello"), "{text}");
    assert_eq!(running.wait().await, 0);
}

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

async fn pods_reach_each_other_by_cluster_ip(world: World) {
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

/// An address of this machine that is not its loopback, as a stand-in for the outside world.
fn outside_address(data_dir: &Path) -> Option<Ipv4Addr> {
    std::fs::read_to_string(data_dir.join("outside")).ok()?.trim().parse().ok()
}

async fn pods_reach_the_outside_through_the_host(world: World) {
    apply(Vec::new()).await;
    tokio::task::spawn_local(egress::serve(world.host.clone()));
    // The outside is this machine's own first address, if it has one: then a listener of the host answers.
    let Some(outside) = outside_address(&world.data_dir) else { return };
    let client = world.pod().await;
    let (_, log) = world.start(client.namespace(), &["perl", "-e", ASK, &outside.to_string(), "9"]).await;
    // Nobody listens there: the connection was taken here and then reset, so the client reads nothing.
    assert_eq!(text(&log).await, "");
}

async fn host_ports_reach_pods(world: World) {
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
