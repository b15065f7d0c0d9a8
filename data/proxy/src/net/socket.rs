//! Opening sockets with the options that Envoy's listeners and clusters ask for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::base::address::Address;
use crate::net::stream::Stream;

/// Connections waiting to be accepted, as Envoy's default `tcp_backlog_size` on Linux with a usual `somaxconn`.
const BACKLOG: i32 = 4096;

/// Options of a listening socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// `IP_TRANSPARENT`, for TPROXY interception.
    pub transparent: bool,
    /// `IP_FREEBIND`: the address need not exist yet.
    pub freebind: bool,
    /// `SO_MARK` on what is accepted.
    pub mark: Option<u32>,
    /// `IPV6_V6ONLY` off: a `::` listener also takes IPv4.
    pub dual_stack: bool,
}

/// Binds one of a worker's listening sockets. All workers bind the same address (`SO_REUSEPORT`).
pub fn listen(addr: SocketAddr, options: BindOptions) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    if options.transparent {
        set_transparent(&socket, addr)?;
    }
    if options.freebind {
        if addr.is_ipv6() { socket.set_freebind_v6(true)? } else { socket.set_freebind_v4(true)? }
    }
    set_mark(&socket, options.mark)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether another process already listens there: `SO_REUSEPORT` would otherwise share its port silently.
pub fn is_taken(addr: SocketAddr) -> bool {
    if addr.port() == 0 {
        return false;
    }
    let probe = || -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(1)
    };
    probe().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Options of a connection to an upstream host.
#[derive(Debug, Clone, Default)]
pub struct DialOptions {
    /// Address to dial from (`bind_config.source_address`).
    pub source: Option<IpAddr>,
    /// `SO_MARK`, so that captured traffic of ours is let through.
    pub mark: Option<u32>,
    /// TCP keep-alive probes.
    pub keepalive: Option<Keepalive>,
    /// `IP_TRANSPARENT`: the source address need not be ours.
    pub transparent: bool,
}

impl DialOptions {
    /// The same, but in the name of a client.
    pub fn in_name_of(&self, client: OriginalSource) -> Self {
        let mark = client.mark.or(self.mark);
        Self { source: Some(client.ip), mark, transparent: true, ..self.clone() }
    }
}

/// The client in whose name an upstream connection is opened, so that the host sees the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalSource {
    /// The client's address.
    pub ip: IpAddr,
    /// `SO_MARK`, by which the host's answers are routed back to us.
    pub mark: Option<u32>,
}

/// TCP keep-alive; absent values are the kernel's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Unanswered probes before the connection is given up.
    pub probes: Option<u32>,
}

/// Dials a host. Time-outs are the caller's.
pub async fn dial(address: &Address, options: &DialOptions) -> io::Result<Stream> {
    match address {
        Address::Ip(addr) => dial_tcp(*addr, options).await.map(Stream::Tcp),
        Address::Pipe(path) => UnixStream::connect(path.as_path()).await.map(Stream::Unix),
    }
}

async fn dial_tcp(addr: SocketAddr, options: &DialOptions) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    set_mark(&SockRef::from(&socket), options.mark)?;
    if let Some(source) = options.source
        && source.is_ipv4() == addr.is_ipv4()
    {
        if options.transparent {
            set_transparent(&SockRef::from(&socket), addr)?;
        }
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    if let Some(keepalive) = options.keepalive {
        set_keepalive(&stream, keepalive)?;
    }
    Ok(stream)
}

fn set_keepalive(stream: &TcpStream, keepalive: Keepalive) -> io::Result<()> {
    let mut probe = TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        probe = probe.with_time(time);
    }
    if let Some(interval) = keepalive.interval {
        probe = probe.with_interval(interval);
    }
    if let Some(probes) = keepalive.probes {
        probe = probe.with_retries(probes);
    }
    SockRef::from(stream).set_tcp_keepalive(&probe)
}

fn set_transparent(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if addr.is_ipv6() { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) }
}

fn set_mark(socket: &Socket, mark: Option<u32>) -> io::Result<()> {
    match mark {
        Some(mark) => socket.set_mark(mark),
        None => Ok(()),
    }
}

/// Binds a Unix domain socket, replacing a stale file of an earlier run.
pub fn listen_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
