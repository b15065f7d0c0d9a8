//! Connections that the agent opens itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UnixListener};

/// How to dial.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dial {
    /// Mark of the socket, where capture tells our traffic by mark.
    pub mark: Option<u32>,
    /// Dial from 127.0.0.6, which capture never touches.
    pub from_passthrough: bool,
}

/// From here the proxy talks to its own pod; capture lets it through.
const PASSTHROUGH: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

impl Dial {
    /// Connects to the first address of `host` that answers.
    ///
    /// # Errors
    /// When the name has no address or none answers.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in tokio::net::lookup_host((host, port)).await? {
            match self.connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(io::Error::new(last.kind(), format!("{host}:{port}: {last}")))
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(mark) = self.mark {
            SockRef::from(&socket).set_mark(mark)?;
        }
        if self.from_passthrough && address.is_ipv4() && is_local(address.ip()) {
            socket.bind(SocketAddr::from((PASSTHROUGH, 0)))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Can it be reached from a loopback address? Only if it is an address of this machine: then binding to it works.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// Listens on a Unix socket, in place of whatever a former process left at that path.
///
/// # Errors
/// When the directory cannot be made or the socket cannot be bound.
pub fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}
