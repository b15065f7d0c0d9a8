//! Serving HTTP on a connection: which protocol, and its codec.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tracing::{debug, trace};

use super::connection::Connection;
use super::exchange;
use super::hcm::{Codec, Hcm};
use crate::base::drain::Drain;
use crate::base::executor::LocalExec;
use crate::net::gather::Gather;
use crate::net::stream::Rewound;
use crate::telemetry::ConnectionInfo;
use crate::upstream::pool::Pools;

/// What every HTTP/2 connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// hyper's own limit, as Envoy's. It has room for as many on its stack, and clears a table for each message when told any number.
const USUAL_HEADERS: usize = 100;
/// How long a client may take to say enough to know its protocol.
const DETECTION: Duration = Duration::from_secs(60);

/// Serves a connection until it ends.
pub async fn serve<S>(io: S, hcm: Arc<Hcm>, info: Arc<ConnectionInfo>, pools: Rc<Pools>, drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _gauges = Gauges::open(&hcm, info.tls.is_some());
    let detected = tokio::select! {
        detected = detect(io, &hcm, &info) => detected,
        // A client that has said nothing yet must not find an old configuration later.
        () = drain.closing() => return hcm.stats.downstream_cx_drain_close().inc(),
    };
    let Some((io, http2)) = detected else { return };
    let connection = Connection::new(hcm, info, pools, drain, http2);
    if http2 { serve_http2(io, connection).await } else { serve_http1(io, connection).await }
}

/// The protocol, from ALPN or from the first bytes; `None` when the client left without a word.
async fn detect<S: AsyncRead + Unpin>(
    mut io: S,
    hcm: &Hcm,
    info: &ConnectionInfo,
) -> Option<(Rewound<S>, bool)> {
    let alpn = info.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    match (hcm.codec, alpn) {
        (Codec::Http1, _) => return Some((Rewound::new(Bytes::new(), io), false)),
        (Codec::Http2, _) | (Codec::Auto, Some("h2")) => return Some((Rewound::new(Bytes::new(), io), true)),
        (Codec::Auto, Some("http/1.1" | "http/1.0")) => return Some((Rewound::new(Bytes::new(), io), false)),
        (Codec::Auto, _) => {}
    }
    let mut seen = BytesMut::with_capacity(PREFACE.len());
    let timeout = hcm.timeouts.idle.unwrap_or(DETECTION);
    loop {
        match tokio::time::timeout(timeout, io.read_buf(&mut seen)).await {
            Ok(Ok(1..)) => {}
            _ => return None,
        }
        let compared = seen.len().min(PREFACE.len());
        if seen[..compared] != PREFACE[..compared] {
            return Some((Rewound::new(seen.freeze(), io), false));
        }
        if compared == PREFACE.len() {
            return Some((Rewound::new(seen.freeze(), io), true));
        }
    }
}

async fn serve_http1<S>(io: S, connection: Rc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hcm = connection.hcm.clone();
    hcm.stats.downstream_cx_http1_total().inc();
    let service = {
        let connection = connection.clone();
        service_fn(move |request| {
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(exchange::run(&connection, request).await) }
        })
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(hcm.timeouts.headers)
        .max_header_size(hcm.limits.head_bytes);
    if hcm.limits.headers != USUAL_HEADERS {
        builder.max_headers(hcm.limits.headers);
    }
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let mut ending = pin!(connection.end());
    let outcome = tokio::select! {
        biased;
        outcome = served.as_mut() => outcome,
        () = ending.as_mut() => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                outcome = served => outcome,
                () = connection.over() => Ok(()),
            }
        }
    };
    report(&hcm, outcome);
}

async fn serve_http2<S>(io: S, connection: Rc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hcm = connection.hcm.clone();
    hcm.stats.downstream_cx_http2_total().inc();
    let service = {
        let connection = connection.clone();
        service_fn(move |request| {
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(exchange::run(&connection, request).await) }
        })
    };
    let limits = &hcm.limits;
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.windows.0)
        .initial_connection_window_size(limits.windows.1)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol();
    if let Some((interval, timeout)) = limits.keepalive {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    let served = builder.serve_connection(TokioIo::new(Gather::new(io)), service);
    let mut served = pin!(served);
    let mut ending = pin!(connection.end());
    let outcome = tokio::select! {
        biased;
        outcome = served.as_mut() => outcome,
        () = ending.as_mut() => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                outcome = served => outcome,
                () = connection.over() => Ok(()),
            }
        }
    };
    report(&hcm, outcome);
}

fn report(hcm: &Hcm, outcome: hyper::Result<()>) {
    match outcome {
        Ok(()) => trace!("connection ended"),
        Err(error) if error.is_parse() => {
            hcm.stats.downstream_cx_protocol_error().inc();
            debug!(%error, "the client broke the protocol");
        }
        Err(error) => debug!(%error, "connection ended"),
    }
}

/// Counts a connection until dropped.
struct Gauges(Arc<Hcm>, bool);

impl Gauges {
    fn open(hcm: &Arc<Hcm>, tls: bool) -> Self {
        hcm.stats.downstream_cx_total().inc();
        hcm.stats.downstream_cx_active().inc();
        if tls {
            hcm.stats.downstream_cx_ssl_total().inc();
            hcm.stats.downstream_cx_ssl_active().inc();
        }
        Self(hcm.clone(), tls)
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.0.stats.downstream_cx_active().dec();
        self.0.stats.downstream_cx_destroy().inc();
        if self.1 {
            self.0.stats.downstream_cx_ssl_active().dec();
        }
    }
}
