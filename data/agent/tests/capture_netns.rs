//! Capture in real network namespaces: a pod with the rules, and a client outside of it.
//!
//! The test starts itself anew in a namespace for the client, and that in a namespace for the pod. It needs
//! `unshare`, `ip` and `iptables` and says so when they are missing.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use clap::Parser;
use meltemi_agent::capture::{self, CaptureArgs};
use socket2::{Domain, SockRef, Socket, Type};

/// Tells a process which part it plays.
const ROLE: &str = "MELTEMI_TEST_ROLE";
/// Passed on to the pod: how it tells its proxy.
const BYPASS: &str = "MELTEMI_TEST_BYPASS";
const MARK: u32 = 1337;
const PROXY_UID: u32 = 1337;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const POD: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
const APP: u16 = 9080;
const AGENT: u16 = 15020;
/// A service of the client's namespace.
const SERVICE: u16 = 8080;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// This program again, playing `part` in new namespaces.
fn start(part: &str, flags: &str, bypass: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg(flags).arg(std::env::current_exe().unwrap());
    command.args([part, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, part).env(BYPASS, bypass);
    if bypass == "mark" {
        command.env("MELTEMI_BYPASS_MARK", MARK.to_string());
    }
    command
}

fn plays(part: &str) -> bool {
    std::env::var(ROLE).as_deref() == Ok(part)
}

fn shell(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; install iproute2 and iptables"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn scenario(bypass: &str) {
    let flags = if is_root() { "-n" } else { "-Urn" };
    let output = start("client", flags, bypass)
        .output()
        .unwrap_or_else(|error| panic!("cannot run unshare: {error}; install util-linux"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("client: done"), "{text}");
}

#[test]
fn traffic_is_captured_and_the_proxy_is_told_by_mark() {
    if std::env::var_os(ROLE).is_none() {
        scenario("mark");
    }
}

#[test]
fn traffic_is_captured_and_the_proxy_is_told_by_user() {
    // Only root has more than one user to tell apart.
    if std::env::var_os(ROLE).is_none() && is_root() {
        scenario("uid");
    }
}

/// The other end of the pod's words.
struct Pod {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Pod {
    fn wait_for(&mut self, word: &str) {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "the pod ended before it said {word:?}:\n{seen}");
            seen.push_str(&line);
            if line.contains(word) {
                return;
            }
        }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }
}

#[test]
fn client() {
    if !plays("client") {
        return;
    }
    shell("ip link set lo up");
    let bypass = std::env::var(BYPASS).unwrap();
    let mut child = start("pod", "-n", &bypass).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let mut pod = Pod { child, lines };
    pod.wait_for("pod: here");
    shell(&format!("ip link add v0 type veth peer name eth0 netns {}", pod.child.id()));
    shell(&format!("ip addr add {CLIENT}/24 dev v0"));
    shell("ip link set v0 up");
    let service = TcpListener::bind((CLIENT, SERVICE)).unwrap();
    std::thread::spawn(move || {
        for stream in service.incoming() {
            stream.unwrap().write_all(b"service").unwrap();
        }
    });
    pod.tell("go");
    pod.wait_for("pod: captured");
    assert_eq!(said(connect((POD, APP).into(), None)), format!("{INBOUND} for {POD}:{APP}"));
    assert_eq!(said(connect((POD, AGENT).into(), None)), "agent", "an excluded port is not captured");
    pod.tell("clean");
    pod.wait_for("pod: clean");
    assert_eq!(said(connect((POD, APP).into(), None)), "app", "no capture after cleaning up");
    pod.tell("end");
    assert!(pod.child.wait().unwrap().success());
    println!("client: done");
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: CaptureArgs,
}

fn capture(more: &[&str]) {
    let words = ["istio-iptables", "-u", "1337", "-i", "*", "-b", "*", "-d", "15090,15021,15020"];
    let args = Line::parse_from(words.iter().chain(more)).args;
    if let Err(error) = capture::run(&args) {
        panic!("{error}");
    }
}

#[test]
fn pod() {
    if !plays("pod") {
        return;
    }
    println!("pod: here");
    let mut orders = std::io::stdin().lines();
    let mut order = || orders.next().unwrap().unwrap();
    assert_eq!(order(), "go");
    shell("ip link set lo up");
    shell(&format!("ip addr add {POD}/24 dev eth0"));
    shell("ip link set eth0 up");
    for (port, word) in [(OUTBOUND, None), (INBOUND, None), (APP, Some("app")), (AGENT, Some("agent"))] {
        answer(port, word);
    }
    capture(&[]);
    let once = rules();
    capture(&[]);
    assert_eq!(rules(), once, "a second run changes nothing");
    let service = SocketAddr::from((CLIENT, SERVICE));
    let own = SocketAddr::from((POD, APP));
    assert_eq!(said(connect(service, None)), format!("{OUTBOUND} for {service}"), "outbound is captured");
    assert_eq!(said(connect((Ipv4Addr::LOCALHOST, APP).into(), None)), "app", "the loopback is not");
    assert_eq!(said(connect(own, None)), "app", "nor the application talking to itself");
    assert_eq!(by_proxy(service), "service", "the proxy's own traffic passes");
    assert_eq!(by_proxy(own), format!("{INBOUND} for {own}"), "the proxy calling its own pod is inbound");
    assert_eq!(
        said(connect(own, Some(Ipv4Addr::new(127, 0, 0, 6)))),
        "app",
        "inbound handed to the application"
    );
    println!("pod: captured");
    assert_eq!(order(), "clean");
    capture(&["--cleanup"]);
    assert!(!rules().contains("ISTIO"), "{}", rules());
    capture(&["--cleanup"]);
    println!("pod: clean");
    assert_eq!(order(), "end");
}

fn rules() -> String {
    let output = Command::new("iptables-save").output().unwrap();
    // Counters and comments change with time.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.starts_with("-A")).collect::<Vec<_>>().join("\n")
}

/// Listens and tells each caller a word, or where it wanted to go.
fn answer(port: u16, word: Option<&'static str>) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let text = match word {
                Some(word) => word.to_owned(),
                None => {
                    let wanted = SockRef::from(&stream).original_dst_v4().unwrap().as_socket().unwrap();
                    format!("{port} for {wanted}")
                }
            };
            stream.write_all(text.as_bytes()).unwrap();
        }
    });
}

fn said(mut stream: TcpStream) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    text
}

fn connect(to: SocketAddr, from: Option<Ipv4Addr>) -> TcpStream {
    dial(to, from, None)
}

fn dial(to: SocketAddr, from: Option<Ipv4Addr>, mark: Option<u32>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(mark) = mark {
        socket.set_mark(mark).unwrap();
    }
    if let Some(from) = from {
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    }
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// What the proxy would be told: a marked socket, or a process of the proxy's user.
fn by_proxy(to: SocketAddr) -> String {
    if std::env::var(BYPASS).as_deref() == Ok("mark") {
        return said(dial(to, None, Some(MARK)));
    }
    let mut command = Command::new("/bin/bash");
    command.arg("-c").arg(format!("cat < /dev/tcp/{}/{}", to.ip(), to.port()));
    let output = command.uid(PROXY_UID).gid(PROXY_UID).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
