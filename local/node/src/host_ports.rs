//! Sockets in the host's network for a daemon that lives in its own.
//!
//! The outer process stays in the host's network namespace. On request it makes a socket there and passes it to the
//! daemon as a file descriptor, so the bytes never go through a second process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::sys;

/// How long a connection to the outside may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the daemon asks of the outer process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// A listening TCP socket on 127.0.0.1.
    Listen { port: u16 },
    /// A TCP socket whose connect to the address has begun.
    Connect { address: SocketAddr },
    /// A UDP socket bound to any port.
    Udp { v6: bool },
}

/// The answer; on success one file descriptor comes with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) error: Option<(i32, String)>,
}

/// Makes sockets in the host's network namespace.
#[derive(Clone)]
pub struct HostPorts {
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// This process is in the host's namespace itself (tests).
    Direct,
    Outer(Arc<Mutex<OwnedFd>>),
}

impl HostPorts {
    /// Sockets of this very process' namespace: for tests and for programs that did not go through `launch`.
    pub fn direct() -> Self {
        Self { way: Way::Direct }
    }

    pub(crate) fn through(socket: Arc<Mutex<OwnedFd>>) -> Self {
        Self { way: Way::Outer(socket) }
    }

    /// Listens on `127.0.0.1:port` of the host; 0 lets the kernel choose. A taken port is an error that says so.
    pub async fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let socket = self.ask(Request::Listen { port }).await.map_err(|e| explain_listen(port, &e))?;
        TcpListener::from_std(socket.into())
    }

    /// Connects to an address of the host's network or beyond.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.ask(Request::Connect { address }).await?;
        let stream = TcpStream::from_std(socket.into())?;
        tokio::time::timeout(CONNECT_TIMEOUT, stream.writable()).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {address} in 10 s"))
        })??;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A UDP socket of the host's network, IPv6 if asked.
    pub async fn udp(&self, v6: bool) -> io::Result<UdpSocket> {
        let socket = self.ask(Request::Udp { v6 }).await?;
        UdpSocket::from_std(socket.into())
    }

    async fn ask(&self, request: Request) -> io::Result<Socket> {
        match &self.way {
            Way::Direct => make(&request),
            Way::Outer(socket) => {
                let socket = socket.clone();
                // The outer process answers at once, yet it is another process: never block a worker on it.
                tokio::task::spawn_blocking(move || ask_outer(&socket.lock(), &request))
                    .await
                    .map_err(io::Error::other)?
            }
        }
    }
}

fn ask_outer(socket: &OwnedFd, request: &Request) -> io::Result<Socket> {
    let message = serde_json::to_vec(&OuterMessage::Socket(request))?;
    sys::send_message(socket, &message, &[])?;
    let (bytes, fds) = sys::receive_message(socket)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "the outer process is gone"))?;
    let reply: Reply = serde_json::from_slice(&bytes)?;
    if let Some((code, text)) = reply.error {
        return Err(if code != 0 { io::Error::from_raw_os_error(code) } else { io::Error::other(text) });
    }
    let fd = fds.into_iter().next().ok_or_else(|| io::Error::other("the outer process sent no socket"))?;
    Ok(Socket::from(fd))
}

/// Everything that the daemon may say to the outer process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OuterMessage<R> {
    /// Wants a socket; is answered.
    Socket(R),
    /// Reports how the start goes; is not answered.
    Report(crate::launch::Report),
}

fn explain_listen(port: u16, error: &io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "127.0.0.1:{port} is already in use: stop the program that listens there or choose another port"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "127.0.0.1:{port} may not be opened by this user: choose a port from 1024 up, or lower sysctl net.ipv4.ip_unprivileged_port_start"
        ),
        _ => format!("cannot listen on 127.0.0.1:{port}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// Makes the socket in the namespace of the calling process; never blocks.
pub(crate) fn make(request: &Request) -> io::Result<Socket> {
    let nonblocking = |domain: Domain, kind: Type, protocol: Protocol| {
        Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))
    };
    match *request {
        Request::Listen { port } => {
            let socket = nonblocking(Domain::IPV4, Type::STREAM, Protocol::TCP)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
            socket.listen(1024)?;
            Ok(socket)
        }
        Request::Connect { address } => {
            let socket = nonblocking(Domain::for_address(address), Type::STREAM, Protocol::TCP)?;
            match socket.connect(&address.into()) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
                Err(error) => return Err(error),
            }
            Ok(socket)
        }
        Request::Udp { v6 } => {
            let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
            let socket = nonblocking(domain, Type::DGRAM, Protocol::UDP)?;
            let any: SocketAddr = if v6 {
                (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
            } else {
                (Ipv4Addr::UNSPECIFIED, 0).into()
            };
            socket.bind(&any.into())?;
            Ok(socket)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_cure() {
        let host = HostPorts::direct();
        let first = host.listen(0).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = host.listen(port).await.unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("choose another port"), "{error}");
    }

    #[tokio::test]
    async fn connects_and_reports_refusal() {
        let host = HostPorts::direct();
        let listener = host.listen(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        host.connect(address).await.unwrap();
        drop(listener);
        assert_eq!(host.connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
