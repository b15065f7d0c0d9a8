//! Tests in real namespaces. The test program is its own daemon: it launches itself, as `meltemi up` does, and the
//! cases run as process 1 inside.

#![allow(clippy::unwrap_used, reason = "a test program without the test harness")]

mod cluster;
mod containers;
mod network;

use std::ffi::OsString;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use meltemi_node::container::log::{Log, Query};
use meltemi_node::container::runtime::{self, IoWish, Running};
use meltemi_node::container::spec::{Container, Process};
use meltemi_node::host_ports::HostPorts;
use meltemi_node::launch::{self, Daemon, LaunchOptions, Outcome, Report};
use meltemi_node::net::{Ipam, PodNetwork, pod_cidr};

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
    if args.first().is_some_and(|a| a == OUTSIDE) {
        return outside(Path::new(&args[1]));
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("outside");
    let mut outside =
        Command::new("/proc/self/exe").arg(OUTSIDE).arg(&file).stdout(Stdio::piped()).spawn().unwrap();
    // It says one line when it listens.
    BufReader::new(outside.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
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
    outside.kill().unwrap();
    outside.wait().unwrap();
    match outcome {
        Ok(Outcome::Exited(0)) if ready => {}
        other => panic!("namespace tests failed: {other:?}"),
    }
    assert!(std::fs::read_dir(dir.path().join("run")).unwrap().next().is_none(), "mounts were left behind");
    assert_eq!(launch::running(dir.path()), None);
}

const OUTSIDE: &str = "__outside";

/// A process in the host's network that answers on the machine's own address: the outside world, as far as pods can tell.
fn outside(file: &Path) {
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let reachable = probe.connect("192.0.2.254:9").is_ok();
    let listener = TcpListener::bind((probe.local_addr().unwrap().ip(), 0)).unwrap();
    if reachable {
        std::fs::write(file, listener.local_addr().unwrap().to_string()).unwrap();
    }
    println!("listening");
    while let Ok((mut stream, _)) = listener.accept() {
        let _ = stream.write_all(b"the outside\n");
    }
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
        ("containers_run_and_report_their_end", |w| {
            Box::pin(containers::containers_run_and_report_their_end(w))
        }),
        ("a_missing_program_is_named", |w| Box::pin(containers::a_missing_program_is_named(w))),
        ("signals_reach_the_program", |w| Box::pin(containers::signals_reach_the_program(w))),
        ("exec_sees_the_container", |w| Box::pin(containers::exec_sees_the_container(w))),
        ("terminals_work", |w| Box::pin(containers::terminals_work(w))),
        ("pods_reach_each_other_by_cluster_ip", |w| {
            Box::pin(network::pods_reach_each_other_by_cluster_ip(w))
        }),
        ("pods_reach_the_outside_through_the_host", |w| {
            Box::pin(network::pods_reach_the_outside_through_the_host(w))
        }),
        ("host_ports_reach_pods", |w| Box::pin(network::host_ports_reach_pods(w))),
        ("a_cluster_does_what_users_expect", |w| Box::pin(cluster::a_cluster_does_what_users_expect(w))),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = World { data_dir: data_dir.into(), host, ipam: Ipam::new(pod_cidr()).into() };
    let local = tokio::task::LocalSet::new();
    let failed = local.block_on(&runtime, async {
        let mut failed = 0;
        for (name, case) in cases {
            let begun = Instant::now();
            let outcome = tokio::task::spawn_local(case(world.clone()));
            let outcome = tokio::time::timeout(Duration::from_secs(180), outcome).await;
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
