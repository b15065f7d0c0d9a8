//! Who is at the other end of a gRPC connection, and the TLS listener that finds it out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use meltemi_identity::{SpiffeId, chain};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// A peer that does not finish its handshake in this time is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections that are held at once; whoever comes then waits in the kernel's queue.
const MOST_CONNECTIONS: usize = 20_000;
/// Handshakes at once: they cost more than a connection that is at rest.
const MOST_HANDSHAKES: usize = 512;

/// What the transport knows of a peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The identity of its certificate, if it showed one that our authority vouches for.
    pub identity: Option<SpiffeId>,
    /// False for the plain-text port of the loopback.
    pub tls: bool,
}

/// Who is at the other end, and the connection's place among those that are held: free again when this is dropped.
pub struct Peer {
    info: PeerInfo,
    _place: OwnedSemaphorePermit,
}

/// A connection, encrypted or not.
pub enum Connection {
    /// Plain text.
    Plain(TcpStream, Peer),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>, Peer),
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        match self {
            Self::Plain(_, peer) | Self::Tls(_, peer) => peer.info.clone(),
        }
    }
}

/// Connections as they come in, until `shutdown`. With `tls` each is shaken hands with on a task of its own, so that a
/// slow peer holds up nobody.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(64);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    tokio::spawn(async move {
        let next = async || {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            let turn = handshakes.clone().acquire_owned().await.map_err(io::Error::other)?;
            let (stream, remote) = listener.accept().await?;
            Ok::<_, io::Error>((stream, remote, place, turn))
        };
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = next() => accepted,
            };
            match accepted {
                Ok((stream, remote, place, turn)) => {
                    let admitted = admit(stream, remote, place, tls.clone());
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        let admitted = admitted.await;
                        drop(turn);
                        if let Some(connection) = admitted {
                            let _ = sender.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: give others time to close theirs.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn admit(
    stream: TcpStream,
    remote: SocketAddr,
    place: OwnedSemaphorePermit,
    tls: Option<Arc<ServerConfig>>,
) -> Option<Connection> {
    // Pushes are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    match tls {
        None => {
            let info = PeerInfo { remote, identity: None, tls: false };
            Some(Connection::Plain(stream, Peer { info, _place: place }))
        }
        Some(config) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => {
                    let info = PeerInfo { remote, identity: identity(&stream), tls: true };
                    Some(Connection::Tls(Box::new(stream), Peer { info, _place: place }))
                }
                Ok(Err(error)) => {
                    tracing::debug!(%remote, %error, "TLS handshake failed");
                    None
                }
                Err(_) => {
                    tracing::debug!(%remote, "TLS handshake timed out");
                    None
                }
            }
        }
    }
}

/// The verifier has checked the chain; a certificate without a SPIFFE id names nobody.
fn identity(stream: &TlsStream<TcpStream>) -> Option<SpiffeId> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    chain::spiffe_id_of(leaf).ok().flatten()
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Connection::Plain($stream, _) => {
                let $stream = Pin::new($stream);
                $call
            }
            Connection::Tls($stream, _) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
