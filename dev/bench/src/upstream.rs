//! The upstream: answers everything with 1 kB, over HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

/// Bytes of every body.
pub const BODY: usize = 1024;

/// Streams of one connection: no proxy is to meet a limit, least of all with its first burst, which is sent before it knows one.
const STREAMS: u32 = 100_000;

/// Serves until the process is ended.
pub fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let answer = service_fn(|_| async { Ok::<_, Infallible>(response()) });
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().max_concurrent_streams(STREAMS);
                // Whoever leaves in the middle of a connection is none of our business.
                let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

fn response() -> Response<Full<Bytes>> {
    static TEXT: [u8; BODY] = [b'x'; BODY];
    Response::new(Full::new(Bytes::from_static(&TEXT)))
}
