//! The pod's own resolvers, for names that the mesh does not have.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::net::Dial;

/// How long one resolver may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most resolvers asked, as libraries of applications do.
const MOST: usize = 3;
/// The longest message that UDP carries.
const LONGEST: usize = 65_535;

/// The resolvers.
#[derive(Clone, Debug)]
pub struct Upstream {
    servers: Vec<SocketAddr>,
    mark: Option<u32>,
}

impl Upstream {
    /// Resolvers to ask in this order; `mark` is that of our own sockets.
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>, mark: Option<u32>) -> Self {
        Self { servers: servers.into_iter().take(MOST).collect(), mark }
    }

    /// The resolvers that a `resolv.conf` names.
    pub fn of_resolv_conf(text: &str, mark: Option<u32>) -> Self {
        let address = |line: &str| {
            let rest = line.trim().strip_prefix("nameserver")?;
            rest.split_whitespace().next()?.parse::<IpAddr>().ok()
        };
        Self::new(text.lines().filter_map(address).map(|ip| SocketAddr::new(ip, 53)), mark)
    }

    /// Passes a question on, by the protocol by which it came, and gives the first answer.
    ///
    /// # Errors
    /// With the last resolver's failure.
    pub async fn ask(&self, question: &[u8], tcp: bool) -> io::Result<Vec<u8>> {
        let mut last = io::Error::other("the pod has no resolver");
        for server in &self.servers {
            let asked = async {
                if tcp {
                    self.ask_tcp(*server, question).await
                } else {
                    self.ask_udp(*server, question).await
                }
            };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{server} did not answer")),
            }
        }
        Err(last)
    }

    async fn ask_udp(&self, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let any: IpAddr =
            if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        if let Some(mark) = self.mark {
            SockRef::from(&socket).set_mark(mark)?;
        }
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // Only the answer to this very question: the id is in the first two bytes.
            if length >= 12 && buffer.get(..2) == question.get(..2) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    async fn ask_tcp(&self, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let dial = Dial { mark: self.mark, from_passthrough: false };
        let mut stream = dial.connect(&server.ip().to_string(), server.port()).await?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}
