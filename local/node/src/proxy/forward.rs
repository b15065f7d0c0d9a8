//! Plain TCP forwarding between two streams.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Buffers per direction, in bytes.
const BUFFER: usize = 64 * 1024;

/// A forwarder that ends when dropped; its connections live on.
#[derive(Debug)]
pub struct Forwarder {
    local: SocketAddr,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Takes connections from `listener` and forwards each to `target`.
    pub fn start(listener: TcpListener, target: SocketAddr) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self { local, task: tokio::spawn(accept(listener, target)) })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    match TcpStream::connect(target).await {
                        Ok(server) => splice(client, server).await,
                        // As a closed port would: the client sees a reset, not an orderly end.
                        Err(_) => reset(client),
                    }
                });
            }
            // Out of descriptors: let others finish.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// Copies both ways until both sides have ended; an end of one side is passed on as such.
pub async fn splice(mut one: TcpStream, mut other: TcpStream) {
    let _ = other.set_nodelay(true);
    if tokio::io::copy_bidirectional_with_sizes(&mut one, &mut other, BUFFER, BUFFER).await.is_err() {
        reset(one);
        reset(other);
    }
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn half_closed_connections_are_carried_to_their_end() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let forwarder = Forwarder::start(listener, target).unwrap();
        let mut client = TcpStream::connect(forwarder.local()).await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut heard = String::new();
        accepted.read_to_string(&mut heard).await.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("question", "answer"));
    }

    #[tokio::test]
    async fn a_refused_target_resets_the_client() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let forwarder = Forwarder::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), gone).unwrap();
        let mut client = TcpStream::connect(forwarder.local()).await.unwrap();
        let error = client.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
