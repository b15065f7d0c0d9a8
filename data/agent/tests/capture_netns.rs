//! Capture in real network namespaces: a pod with the rules, and a client outside of it. Both back ends must keep the same
//! promises, for IPv4 and IPv6.
//!
//! The test starts itself anew in a namespace for the client, and that in a namespace for the pod. It needs
//! `unshare`, `ip`, `iptables` and `nft` and says so when they are missing.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use meltemi_agent::capture::{self, CaptureArgs, CaptureError};
use socket2::{Domain, SockRef, Socket, Type};

/// Tells a process which part it plays.
const ROLE: &str = "MELTEMI_TEST_ROLE";
/// How the pod tells its proxy, what writes the rules, and how they capture: three words.
const SCENARIO: &str = "MELTEMI_TEST_SCENARIO";
const MARK: u32 = 1337;
const PROXY: u32 = 1337;
/// A group whose traffic is not captured.
const EXEMPT: u32 = 700;
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
const AGENT_DNS: u16 = 15053;
const APP: u16 = 9080;
const AGENT: u16 = 15020;
/// A service of the client's namespace.
const SERVICE: u16 = 8080;
/// Another, whose port is left out.
const DATABASE: u16 = 3306;

/// The addresses of one family.
struct Net {
    client: IpAddr,
    pod: IpAddr,
    /// A destination that is left out.
    excluded: IpAddr,
    /// The client and the pod on an interface that is left out.
    client_aside: IpAddr,
    pod_aside: IpAddr,
    loopback: IpAddr,
    passthrough: IpAddr,
    bits: u8,
}

fn nets() -> [Net; 2] {
    let net = |prefix: &str, aside: &str, loopback: &str, passthrough: &str, bits| {
        let ip = |prefix: &str, last: u8| format!("{prefix}{last}").parse().unwrap();
        Net {
            client: ip(prefix, 1),
            pod: ip(prefix, 2),
            excluded: ip(prefix, 9),
            client_aside: ip(aside, 1),
            pod_aside: ip(aside, 2),
            loopback: loopback.parse().unwrap(),
            passthrough: passthrough.parse().unwrap(),
            bits,
        }
    };
    [net("10.9.0.", "10.9.1.", "127.0.0.1", "127.0.0.6", 24), net("fd09::", "fd09:1::", "::1", "::6", 64)]
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn scenario_word(index: usize) -> String {
    std::env::var(SCENARIO).unwrap().split(' ').nth(index).unwrap().to_owned()
}

fn by_mark() -> bool {
    scenario_word(0) == "mark"
}

fn transparent() -> bool {
    scenario_word(2) == "TPROXY"
}

/// This program again, playing `part` in new namespaces.
fn start(part: &str, flags: &str, scenario: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg(flags).arg(std::env::current_exe().unwrap());
    command.args([part, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, part).env(SCENARIO, scenario);
    if scenario.starts_with("mark") {
        command.env("MELTEMI_BYPASS_MARK", MARK.to_string());
    }
    command
}

/// A directory of programs without iptables.
fn programs() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for program in ["unshare", "ip", "nft", "mount", "timeout", "cat"] {
        let found = std::env::var("PATH").unwrap().split(':').find_map(|at| {
            let path = std::path::Path::new(at).join(program);
            path.exists().then_some(path)
        });
        let found = found.unwrap_or_else(|| panic!("{program} is not in PATH"));
        std::os::unix::fs::symlink(found, directory.path().join(program)).unwrap();
    }
    directory
}

fn plays(part: &str) -> bool {
    std::env::var(ROLE).as_deref() == Ok(part)
}

fn shell(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| {
        panic!("cannot run {program}: {error}; install iproute2, iptables and nftables")
    });
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn run(scenario: &str) {
    if std::env::var_os(ROLE).is_some() {
        return;
    }
    let flags = if is_root() { "-nm" } else { "-Urnm" };
    let output = start("client", flags, scenario)
        .output()
        .unwrap_or_else(|error| panic!("cannot run unshare: {error}; install util-linux"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("client: done"), "{scenario}: {text}");
}

#[test]
fn the_proxy_is_told_by_mark() {
    run("mark iptables REDIRECT");
}

#[test]
fn the_proxy_is_told_by_mark_with_nft() {
    run("mark nft REDIRECT");
}

#[test]
fn nft_takes_over_where_iptables_is_missing() {
    run("mark missing REDIRECT");
}

// Only root has more than one user to tell apart.

#[test]
fn the_proxy_is_told_by_user() {
    if is_root() {
        run("user iptables REDIRECT");
    }
}

#[test]
fn the_proxy_is_told_by_user_with_nft() {
    if is_root() {
        run("user nft REDIRECT");
    }
}

#[test]
fn the_clients_address_is_kept() {
    if is_root() {
        run("user iptables TPROXY");
    }
}

#[test]
fn the_clients_address_is_kept_with_nft() {
    if is_root() {
        run("user nft TPROXY");
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

fn address(ip: IpAddr, bits: u8, device: &str) {
    let nodad = if ip.is_ipv6() { " nodad" } else { "" };
    shell(&format!("ip addr add {ip}/{bits} dev {device}{nodad}"));
}

#[test]
fn client() {
    if !plays("client") {
        return;
    }
    shell("ip link set lo up");
    let programs = programs();
    let mut command = start("pod", "-nm", &std::env::var(SCENARIO).unwrap());
    if scenario_word(1) == "missing" {
        command.env("PATH", programs.path());
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let mut pod = Pod { child, lines };
    pod.wait_for("pod: here");
    for (ours, theirs) in [("v0", "eth0"), ("v1", "eth1")] {
        shell(&format!("ip link add {ours} type veth peer name {theirs} netns {}", pod.child.id()));
        shell(&format!("ip link set {ours} up"));
    }
    for net in nets() {
        address(net.client, net.bits, "v0");
        // Nobody dials from it by himself.
        address(net.excluded, net.bits, "v0 preferred_lft 0");
        address(net.client_aside, net.bits, "v1");
        for port in [SERVICE, DATABASE] {
            answer(net.loopback.is_ipv6(), port, |_| "service".to_owned());
        }
        resolve(net.loopback.is_ipv6(), 53, "resolver");
    }
    pod.tell("go");
    pod.wait_for("pod: captured");
    for net in nets() {
        let own = SocketAddr::from((net.pod, APP));
        assert_eq!(said(connect(own)), format!("{INBOUND} for {own} from {}", net.client));
        assert_eq!(said(connect((net.pod, AGENT).into())), "agent", "an excluded port is not captured");
        let aside = said(connect((net.pod_aside, APP).into()));
        assert_eq!(aside, format!("app for {}", net.client_aside), "nor an excluded interface");
    }
    pod.tell("clean");
    pod.wait_for("pod: clean");
    for net in nets() {
        let app = said(connect((net.pod, APP).into()));
        assert_eq!(app, format!("app for {}", net.client), "no capture after cleaning up");
    }
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
    if let Err(error) = try_to_capture(more) {
        panic!("{error}");
    }
}

fn try_to_capture(more: &[&str]) -> Result<(), CaptureError> {
    let [v4, v6] = nets();
    let excluded = format!("{},{}", v4.excluded, v6.excluded);
    let (mode, exempt) = (scenario_word(2), EXEMPT.to_string());
    let mut words = vec!["istio-iptables", "-i", "*", "-b", "*", "-d", "15090,15021,15020", "-o", "3306"];
    words.extend(["-x", &excluded, "-c", "eth1", "-m", &mode, "--redirect-dns"]);
    if !by_mark() {
        words.extend(["-u", "1337", "--owner-groups-exclude", &exempt]);
    }
    if scenario_word(1) == "nft" {
        words.push("--native-nftables");
    }
    capture::run(&Line::parse_from(words.iter().chain(more)).args)
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
    name_resolvers();
    shell("ip link set lo up");
    shell("ip link set eth0 up");
    shell("ip link set eth1 up");
    for net in nets() {
        address(net.pod, net.bits, "eth0");
        address(net.pod_aside, net.bits, "eth1");
        let v6 = if net.loopback.is_ipv6() { "-6 " } else { "" };
        shell(&format!("ip {v6}route add default via {}", net.client));
    }
    let unready = try_to_capture(&["--skip-rule-apply", "--run-validation", "--probe-timeout=200ms"]);
    assert!(matches!(unready, Err(CaptureError::Validation(_))), "{unready:?}");
    capture(&["--run-validation"]);
    let once = rules();
    assert!(once.contains("15053"), "{once}");
    capture(&["--force-apply"]);
    assert_eq!(rules(), once, "a second run changes nothing");
    for net in nets() {
        let v6 = net.loopback.is_ipv6();
        for port in [OUTBOUND, INBOUND] {
            answer(v6, port, move |stream| format!("{port} {}", destination(stream)));
        }
        answer(v6, APP, |stream| format!("app for {}", stream.peer_addr().unwrap().ip()));
        answer(v6, AGENT, |_| "agent".to_owned());
        resolve(v6, AGENT_DNS, "agent");
    }
    for net in nets() {
        outbound(&net);
        to_itself(&net);
        look_ups(&net);
    }
    println!("pod: captured");
    assert_eq!(order(), "clean");
    capture(&["--cleanup-only"]);
    let left = rules();
    assert!(!left.to_lowercase().contains("istio") && !left.contains("1337"), "{left}");
    capture(&["--cleanup-only"]);
    println!("pod: clean");
    assert_eq!(order(), "end");
}

fn outbound(net: &Net) {
    let service = SocketAddr::from((net.client, SERVICE));
    let captured = format!("{OUTBOUND} for {service} from {}", net.pod);
    assert_eq!(said(connect(service)), captured, "outbound is captured");
    assert_eq!(by_proxy(service), "service", "the proxy's own traffic passes");
    assert_eq!(said(connect((net.client, DATABASE).into())), "service", "so does an excluded port");
    assert_eq!(said(connect((net.excluded, SERVICE).into())), "service", "an excluded network");
    assert_eq!(said(connect((net.client_aside, SERVICE).into())), "service", "an excluded interface");
    if !by_mark() {
        assert_eq!(by_process(0, EXEMPT, service), "service", "and an excluded group");
    }
}

fn to_itself(net: &Net) {
    let own = SocketAddr::from((net.pod, APP));
    let app = format!("app for {}", net.pod);
    let looped = said(connect((net.loopback, APP).into()));
    assert_eq!(looped, format!("app for {}", net.loopback), "the loopback is not captured");
    assert_eq!(said(connect(own)), app, "nor the application talking to itself");
    let inbound = format!("{INBOUND} for {own} from {}", net.pod);
    assert_eq!(by_proxy(own), inbound, "the proxy calling its own pod is inbound");
    let handed = said(dial(own, Some(net.passthrough), None));
    assert_eq!(handed, format!("app for {}", net.passthrough), "inbound handed to the application");
    if transparent() {
        // The application sees the client, and what it answers comes back to the proxy.
        assert_eq!(said(dial(own, Some(net.client), Some(MARK))), format!("app for {}", net.client));
    }
}

fn look_ups(net: &Net) {
    let known = SocketAddr::from((net.client, 53));
    assert_eq!(ask(known), "agent", "look-ups go to the agent");
    assert_eq!(said(connect(known)), "agent", "over TCP, too");
    assert_eq!(
        ask((net.client_aside, 53).into()),
        "resolver",
        "but not to a server that resolv.conf does not name"
    );
    assert_eq!(by_proxy(known), "resolver", "and the agent's own reach the resolver");
    for _ in 0..3 {
        assert_eq!(ask(known), "agent", "from whatever port");
    }
}

/// The pod's `resolv.conf`, in its own mount namespace.
fn name_resolvers() {
    let text: String = nets().iter().map(|net| format!("nameserver {}\n", net.client)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    shell(&format!("mount --bind {} /etc/resolv.conf", file.path().display()));
}

fn rules() -> String {
    let (program, args) = match scenario_word(1).as_str() {
        "nft" | "missing" => (vec!["nft"], &["-s", "list", "ruleset"][..]),
        _ => (vec!["iptables-save", "ip6tables-save"], &[][..]),
    };
    let output = |program| Command::new(program).args(args).output().unwrap().stdout;
    let text: String =
        program.into_iter().map(|p| String::from_utf8_lossy(&output(p)).into_owned()).collect();
    // Counters and comments change with time.
    let stays = |line: &&str| !line.starts_with(['#', ':']);
    text.lines().filter(stays).collect::<Vec<_>>().join("\n")
}

fn listener(v6: bool, port: u16) -> TcpListener {
    let socket = Socket::new(if v6 { Domain::IPV6 } else { Domain::IPV4 }, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    if port == INBOUND && std::env::var(SCENARIO).unwrap().ends_with("TPROXY") {
        if v6 {
            socket.set_ip_transparent_v6(true).unwrap()
        } else {
            socket.set_ip_transparent_v4(true).unwrap()
        }
    }
    socket.bind(&any(v6, port).into()).unwrap();
    socket.listen(64).unwrap();
    socket.into()
}

fn any(v6: bool, port: u16) -> SocketAddr {
    format!("{}:{port}", if v6 { "[::]" } else { "0.0.0.0" }).parse().unwrap()
}

/// Listens and tells each caller something.
fn answer(v6: bool, port: u16, what: impl Fn(&TcpStream) -> String + Send + 'static) {
    if v6 {
        // IPv4 has a socket of its own.
        std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").unwrap();
    }
    let listener = listener(v6, port);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let text = what(&stream);
            stream.write_all(text.as_bytes()).unwrap();
        }
    });
}

/// Where a captured connection was going, and who dialled.
fn destination(stream: &TcpStream) -> String {
    let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let socket = SockRef::from(stream);
    let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let wanted = match original {
        Ok(address) => address.as_socket().unwrap(),
        // Not translated: the socket has the address that was dialled.
        Err(_) => local,
    };
    format!("for {wanted} from {}", peer.ip())
}

/// Answers what comes by UDP or TCP.
fn resolve(v6: bool, port: u16, word: &'static str) {
    answer(v6, port, move |_| word.to_owned());
    // Whoever asks too early waits in vain: the refusal is of no connection that is known.
    let (bound, is_bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let socket =
            if port == AGENT_DNS { proxys_socket(v6) } else { UdpSocket::bind(any(v6, port)).unwrap() };
        bound.send(()).unwrap();
        let mut buffer = [0; 64];
        loop {
            let (_, peer) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(word.as_bytes(), peer).unwrap();
        }
    });
    is_bound.recv().unwrap();
}

/// The agent's socket for look-ups: its answers are told by their sender. Changes who this thread is.
fn proxys_socket(v6: bool) -> UdpSocket {
    if !by_mark() {
        // A thread's own user and group count for the sockets that it makes.
        nix::unistd::setfsgid(PROXY.into());
        if !transparent() {
            nix::unistd::setfsuid(PROXY.into());
        }
    }
    // Its answers must come from where the look-ups were redirected to.
    let loopback: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let socket = UdpSocket::bind((loopback, AGENT_DNS)).unwrap();
    if by_mark() {
        SockRef::from(&socket).set_mark(MARK).unwrap();
    }
    socket
}

fn ask(server: SocketAddr) -> String {
    let socket = UdpSocket::bind(any(server.is_ipv6(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Only who was asked may answer.
    socket.connect(server).unwrap();
    socket.send(b"?").unwrap();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{server}: {error}"));
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn said(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn connect(to: SocketAddr) -> TcpStream {
    dial(to, None, None)
}

fn dial(to: SocketAddr, from: Option<IpAddr>, mark: Option<u32>) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    if let Some(mark) = mark {
        socket.set_mark(mark).unwrap();
    }
    if let Some(from) = from {
        if mark.is_some() {
            // In somebody else's name.
            if to.is_ipv6() {
                socket.set_ip_transparent_v6(true)
            } else {
                socket.set_ip_transparent_v4(true)
            }
            .unwrap();
        }
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    }
    let limit = Duration::from_secs(10);
    socket.connect_timeout(&to.into(), limit).unwrap_or_else(|error| panic!("{from:?} to {to}: {error}"));
    socket.set_read_timeout(Some(limit)).unwrap();
    socket.into()
}

/// What the proxy would be told: a marked socket, or a process of the proxy's user. Under TPROXY it is root with the proxy's
/// group, as it sets options of sockets that only root may set.
fn by_proxy(to: SocketAddr) -> String {
    if by_mark() {
        return said(dial(to, None, Some(MARK)));
    }
    by_process(if transparent() { 0 } else { PROXY }, PROXY, to)
}

fn by_process(uid: u32, gid: u32, to: SocketAddr) -> String {
    let mut command = Command::new("/bin/bash");
    command.arg("-c").arg(format!("timeout 10 cat < /dev/tcp/{}/{}", to.ip(), to.port()));
    let output = command.uid(uid).gid(gid).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
