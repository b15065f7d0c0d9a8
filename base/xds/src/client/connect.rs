//! How the client reaches a server: anything that carries bytes.

use std::error::Error;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// A connected byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection that is ready for HTTP/2.
pub struct Connection {
    /// The bytes: TCP, TLS, a Unix socket, a duplex pipe.
    pub io: Box<dyn Io>,
    /// `:authority` of requests.
    pub authority: String,
    /// Headers of the stream, such as `authorization`.
    pub metadata: MetadataMap,
}

impl Connection {
    /// A connection without headers of its own.
    pub fn new(io: impl Io, authority: impl Into<String>) -> Self {
        Self { io: Box::new(io), authority: authority.into(), metadata: MetadataMap::new() }
    }
}

/// Opens connections; called for each attempt, so that addresses, tokens and certificates are fresh.
#[tonic::async_trait]
pub trait Connector: Send {
    /// One attempt.
    async fn connect(&mut self) -> Result<Connection, Box<dyn Error + Send + Sync>>;
}

/// HTTP/2 over `io`. Keep-alive pings find a server that vanished without a word.
pub(super) async fn channel(
    io: Box<dyn Io>,
    authority: &str,
) -> Result<Channel, Box<dyn Error + Send + Sync>> {
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .http2_keep_alive_interval(std::time::Duration::from_secs(30))
        .keep_alive_timeout(std::time::Duration::from_secs(10));
    // The channel asks for one connection; if this one dies the stream fails and the loop connects anew.
    let mut once = Some(io);
    let connector = service_fn(move |_| {
        let io = once.take();
        async move { io.map(TokioIo::new).ok_or_else(|| std::io::Error::other("the connection was lost")) }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}
