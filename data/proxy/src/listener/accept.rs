//! The life of a connection: accepted, looked at, perhaps handed to another listener, matched to a filter chain, served.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tracing::{debug, trace};

use super::Listener;
use super::chain::{Facts, FilterChain};
use super::inspect::{Found, MOST, Verdict};
use super::table::SharedTable;
use crate::base::address::Address;
use crate::net::original_dst;
use crate::net::socket::OriginalSource;
use crate::net::stream::{Rewound, Stream};
use crate::tcp::{Terminal, proxy};
use crate::telemetry::info::unique_number;
use crate::telemetry::{ConnectionInfo, Flags, LogContext, RequestInfo};
use crate::tls::maybe::Downstream;
use crate::upstream::pool::Pools;

/// What a worker's connections share.
#[derive(Clone)]
pub struct Shared {
    /// All listeners.
    pub table: SharedTable,
    /// The worker's upstream connections.
    pub pools: Rc<Pools>,
}

/// A connection on its way to a filter chain.
struct Arrival {
    stream: Stream,
    /// Where it was accepted.
    direct_local: Address,
    /// Where its client meant to go.
    local: Address,
    remote: Address,
    restored: bool,
    seen: BytesMut,
    since: Instant,
}

/// Handles a connection accepted at `address`, until it ends.
pub async fn handle(stream: Stream, address: &Address, shared: Shared) {
    let Some(listener) = shared.table.load().at(address).cloned() else { return };
    let local = stream.local_addr().map_or_else(|| address.clone(), Address::Ip);
    let remote = stream.peer_addr().map_or_else(|| address.clone(), Address::Ip);
    let mut arrival = Arrival {
        stream,
        direct_local: local.clone(),
        local,
        remote,
        restored: false,
        seen: BytesMut::new(),
        since: Instant::now(),
    };
    let Some((listener, found)) = arrival.settle(listener, &shared).await else { return };
    let _gauge = Gauge::open(&listener);
    let chain = arrival.chain(&listener, &found).cloned();
    let info = arrival.info(&listener, &found, chain.as_deref());
    match chain {
        Some(chain) => serve(arrival, chain, &listener, info, shared.pools).await,
        None => refuse(&listener, info),
    }
}

impl Arrival {
    /// Looks at the connection and hands it on at most once; gives the listener that keeps it.
    async fn settle(&mut self, first: Arc<Listener>, shared: &Shared) -> Option<(Arc<Listener>, Found)> {
        self.restore(&first);
        let found = self.inspect(&first).await?;
        if !(first.hand_off && self.restored) {
            return Some((first, found));
        }
        let destination = self.local.ip()?;
        let next = shared.table.load().for_destination(destination).cloned();
        match next {
            Some(next) if !Arc::ptr_eq(&next, &first) => {
                let found = self.inspect(&next).await?;
                Some((next, found))
            }
            _ => Some((first, found)),
        }
    }

    fn restore(&mut self, listener: &Listener) {
        if !listener.original_dst {
            return;
        }
        let Stream::Tcp(tcp) = &self.stream else { return };
        let original = original_dst::of(tcp).map(Address::Ip);
        if let Some(original) = original.filter(|original| *original != self.direct_local) {
            self.local = original;
            self.restored = true;
        }
    }

    /// Reads until the listener's inspectors know enough; `None` when the connection is over.
    async fn inspect(&mut self, listener: &Listener) -> Option<Found> {
        let limit = async {
            match listener.inspect_timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            found = self.read_enough(listener) => found,
            () = limit => {
                listener.stats.downstream_pre_cx_timeout().inc();
                listener.continue_on_timeout.then(Found::default)
            }
        }
    }

    async fn read_enough(&mut self, listener: &Listener) -> Option<Found> {
        loop {
            match listener.inspect.judge(&self.seen) {
                Verdict::Done(found) => return Some(found),
                Verdict::More => {}
            }
            self.seen.reserve(MOST);
            match self.stream.read_buf(&mut self.seen).await {
                Ok(1..) => {}
                Ok(_) if self.seen.is_empty() => {
                    listener.stats.downstream_listener_filter_remote_close().inc();
                    return None;
                }
                // The client said little and closed its side: a filter chain may still answer it.
                Ok(_) => return Some(Found::default()),
                Err(error) => {
                    trace!(%error, "connection lost before a filter chain was chosen");
                    listener.stats.downstream_listener_filter_error().inc();
                    return None;
                }
            }
        }
    }

    fn chain<'a>(&self, listener: &'a Listener, found: &Found) -> Option<&'a Arc<FilterChain>> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        listener.chains.choose(&Facts {
            local: self.local.ip().unwrap_or(nowhere),
            remote: self.remote.ip().unwrap_or(nowhere),
            server_name: found.server_name.as_deref(),
            transport: if found.tls { "tls" } else { "raw_buffer" },
            protocols: &found.protocols,
        })
    }

    fn info(&self, listener: &Listener, found: &Found, chain: Option<&FilterChain>) -> ConnectionInfo {
        let mut info = ConnectionInfo::new(unique_number(), self.local.clone(), self.remote.clone());
        info.direct_local = self.direct_local.clone();
        info.requested_server_name = found.server_name.as_deref().map(Into::into);
        info.filter_chain = chain.and_then(|chain| chain.name.clone());
        info.listener = listener.name.clone();
        info.start = self.since;
        info.source = listener.original_src.and_then(|mark| {
            let ip = self.remote.ip()?.ip().to_canonical();
            Some(OriginalSource { ip, mark: (mark != 0).then_some(mark) })
        });
        info
    }
}

async fn serve(
    arrival: Arrival,
    chain: Arc<FilterChain>,
    listener: &Listener,
    mut info: ConnectionInfo,
    pools: Rc<Pools>,
) {
    let _open = chain.drain.enter();
    let prefix: Bytes = arrival.seen.freeze();
    let stream = Rewound::new(prefix, arrival.stream);
    let io = match &chain.tls {
        None => Downstream::Raw(stream),
        Some(tls) => match tokio::time::timeout(chain.tls_timeout, tls.accept(stream)).await {
            Ok(Ok((stream, tls))) => {
                listener.stats.ssl_handshake().inc();
                info.requested_server_name = stream.get_ref().1.server_name().map(Into::into);
                info.tls = Some(Arc::new(tls));
                Downstream::Tls(Box::new(stream))
            }
            Ok(Err(error)) => {
                debug!(%error, remote = %info.remote, listener = %listener.name, "TLS handshake failed");
                listener.stats.ssl_connection_error().inc();
                info.transport_failure = Some(error.into());
                return log(listener, info, Flags::NONE);
            }
            Err(_) => {
                listener.stats.downstream_cx_transport_socket_connect_timeout().inc();
                info.transport_failure = Some("the TLS handshake took too long".into());
                return log(listener, info, Flags::NONE);
            }
        },
    };
    let info = Arc::new(info);
    let drain = chain.drain.clone();
    match &chain.network.terminal {
        Terminal::Http(hcm) => crate::http::server::serve(io, hcm.clone(), info, pools, drain).await,
        Terminal::Tcp(tcp) => proxy::serve(io, tcp.clone(), &chain.network, info, (pools, drain)).await,
    }
}

fn refuse(listener: &Listener, info: ConnectionInfo) {
    listener.stats.no_filter_chain_match().inc();
    log(listener, info, Flags::NO_ROUTE_FOUND);
}

/// Logs a connection that no filter chain served.
fn log(listener: &Listener, info: ConnectionInfo, flags: Flags) {
    let mut record = RequestInfo::new(Arc::new(info), None);
    record.flags = flags;
    if flags.intersects(Flags::NO_ROUTE_FOUND) {
        record.details = Some("filter_chain_not_found".into());
    }
    listener.access_logs.log(&LogContext::tcp(&record));
}

/// Counts a listener's connection until dropped.
struct Gauge(Arc<Listener>, Instant);

impl Gauge {
    fn open(listener: &Arc<Listener>) -> Self {
        listener.stats.downstream_cx_total().inc();
        listener.stats.downstream_cx_active().inc();
        Self(listener.clone(), Instant::now())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.stats.downstream_cx_active().dec();
        self.0.stats.downstream_cx_destroy().inc();
        self.0.stats.downstream_cx_length_ms().record_duration(self.1.elapsed());
    }
}
