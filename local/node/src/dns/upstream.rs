//! Questions about the outside world, asked of the host's resolvers from the host's network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host_ports::HostPorts;

/// How long one resolver may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The host's resolvers.
#[derive(Clone)]
pub struct Upstream {
    host: HostPorts,
    servers: Vec<SocketAddr>,
}

impl Upstream {
    /// Reads the resolvers from the text of a resolv.conf.
    pub fn new(host: HostPorts, resolv_conf: &str) -> Self {
        Self { host, servers: servers(resolv_conf) }
    }

    /// Passes a question on and returns the first answer, as bytes.
    pub async fn ask(&self, question: &[u8], tcp: bool) -> io::Result<Vec<u8>> {
        let mut last = io::Error::other("the host has no resolver");
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
        let socket = self.host.udp(server.is_ipv6()).await?;
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut buffer = vec![0; 4096];
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
        let mut stream = self.host.connect(server).await?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let addresses = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    addresses.map(|ip| SocketAddr::new(ip, 53)).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read() {
        let text = "# comment\nsearch lan\nnameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\noptions x\n";
        let expected: Vec<SocketAddr> = vec!["127.0.0.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(servers(text), expected);
    }
}
