//! What moves the frames of a connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

/// Largest list of response headers accepted, in bytes, as HTTP/2 counts them.
const LARGEST_HEAD: u32 = 64 << 10;
/// Streams opened before the peer has said how many it allows.
const FIRST_STREAMS: usize = 100;
/// Bytes of one stream that wait for the peer's window.
const SEND_BUFFER: usize = 1 << 20;
/// Streams that our own errors may end before the peer is taken for an attacker.
const MOST_ERRORS: usize = 1024;

/// How a connection is kept alive.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// Between two pings.
    pub interval: Duration,
    /// For an answer to one.
    pub timeout: Duration,
}

/// A connection whose frames must be moved.
pub struct Driver<S: AsyncRead + AsyncWrite + Unpin> {
    connection: Connection<S, Bytes>,
    keep_alive: Option<(PingPong, KeepAlive)>,
}

/// Opens a connection with flow-control windows (of a stream, of the connection) in bytes.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    windows: (u32, u32),
    keep_alive: Option<KeepAlive>,
) -> Result<(SendRequest<Bytes>, Driver<S>), h2::Error> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(FIRST_STREAMS)
        .initial_window_size(windows.0)
        .initial_connection_window_size(windows.1)
        .max_header_list_size(LARGEST_HEAD)
        .max_local_error_reset_streams(Some(MOST_ERRORS))
        .max_send_buffer_size(SEND_BUFFER);
    let (sender, mut connection) = builder.handshake(io).await?;
    let keep_alive = keep_alive.and_then(|how| Some((connection.ping_pong()?, how)));
    Ok((sender, Driver { connection, keep_alive }))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Runs until the connection ends. When `unused` resolves (its sender is gone) no more requests will come: `h2` must be woken to
    /// see that.
    pub async fn run(self, unused: oneshot::Receiver<()>) -> Result<(), h2::Error> {
        let Self { mut connection, keep_alive } = self;
        let mut unused = Some(unused);
        let mut dead = pin!(async {
            match keep_alive {
                Some((pings, how)) => death(pings, how).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            if unused.as_mut().is_some_and(|unused| Pin::new(unused).poll(cx).is_ready()) {
                unused = None;
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Pending => dead.as_mut().poll(cx).map(Err),
                ended => ended,
            }
        })
        .await
    }
}

/// Pings, and resolves when an answer is missing.
async fn death(mut pings: PingPong, how: KeepAlive) -> h2::Error {
    loop {
        tokio::time::sleep(how.interval).await;
        match tokio::time::timeout(how.timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection knows why.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return h2::Reason::NO_ERROR.into(),
        }
    }
}
