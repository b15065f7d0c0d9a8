//! Answers look-ups on the loopback, over UDP and TCP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use meltemi_process::metrics::Counter;
use meltemi_process::shutdown::Shutdown;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use super::table::{Found, Table};
use super::upstream::Upstream;

/// Seconds that an answer may be kept, as Istio's.
const TTL: u32 = 30;
/// The longest answer over UDP to a client that does not say otherwise.
const UDP_MAX: usize = 512;
/// The longest question.
const QUESTION_MAX: usize = 4096;
/// An unused TCP connection is closed after this.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// Questions that may wait for a resolver at once. Further ones over UDP are dropped, as clients ask again.
const MOST_AT_ONCE: usize = 1024;

/// Counters of look-ups.
#[derive(Clone, Debug)]
pub struct DnsMetrics {
    /// All of them.
    pub requests: Counter,
    /// Those passed on to a resolver.
    pub upstream_requests: Counter,
    /// Those that no resolver answered.
    pub upstream_failures: Counter,
}

/// The agent's DNS server.
#[derive(Clone)]
pub struct Server {
    table: watch::Receiver<Arc<Table>>,
    upstream: Upstream,
    metrics: DnsMetrics,
    mark: Option<u32>,
}

impl Server {
    /// A server that answers from the latest `table` and asks `upstream` about the rest. `mark` is that of our own sockets.
    pub fn new(
        table: watch::Receiver<Arc<Table>>,
        upstream: Upstream,
        metrics: DnsMetrics,
        mark: Option<u32>,
    ) -> Self {
        Self { table, upstream, metrics, mark }
    }

    /// Serves on a port of the loopback until `tasks` end. Answers must come from where look-ups were redirected to, so the
    /// sockets are bound to the loopback addresses themselves.
    ///
    /// # Errors
    /// When the port is taken on 127.0.0.1. A machine may have no ::1.
    pub async fn start(&self, port: u16, tasks: &Shutdown) -> io::Result<()> {
        self.start_at((Ipv4Addr::LOCALHOST, port).into(), tasks).await?;
        if let Err(error) = self.start_at((Ipv6Addr::LOCALHOST, port).into(), tasks).await {
            debug!(%error, "no look-ups over IPv6");
        }
        Ok(())
    }

    async fn start_at(&self, address: SocketAddr, tasks: &Shutdown) -> io::Result<()> {
        let udp = UdpSocket::bind(address).await?;
        let tcp = TcpListener::bind(address).await?;
        if let Some(mark) = self.mark {
            SockRef::from(&udp).set_mark(mark)?;
        }
        let (by_udp, by_tcp) = (self.clone().serve_udp(udp), self.clone().serve_tcp(tcp));
        let tasks = tasks.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tasks.requested() => {}
                () = by_udp => {}
                () = by_tcp => {}
            }
        });
        Ok(())
    }

    async fn serve_udp(self, socket: UdpSocket) {
        let (socket, limit) = (Arc::new(socket), Arc::new(Semaphore::new(MOST_AT_ONCE)));
        let mut buffer = vec![0; QUESTION_MAX];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // A client that is gone already shows here, too.
                    debug!(%error, "no look-up received");
                    continue;
                }
            };
            let Ok(permit) = limit.clone().try_acquire_owned() else { continue };
            let question = buffer.get(..length).unwrap_or_default().to_vec();
            let (server, socket) = (self.clone(), socket.clone());
            tokio::spawn(async move {
                if let Some(answer) = server.answer(&question, false).await
                    && let Err(error) = socket.send_to(&answer, client).await
                {
                    debug!(%error, %client, "look-up not answered");
                }
                drop(permit);
            });
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        let limit = Arc::new(Semaphore::new(MOST_AT_ONCE));
        loop {
            let Ok(permit) = limit.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        server.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "no look-up over TCP");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(&self, mut stream: TcpStream) {
        loop {
            let mut question = Vec::new();
            let read = async {
                question.resize(usize::from(stream.read_u16().await?), 0);
                stream.read_exact(&mut question).await
            };
            match tokio::time::timeout(TCP_IDLE, read).await {
                Ok(Ok(_)) => {}
                _ => return,
            }
            let Some(answer) = self.answer(&question, true).await else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            if stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await.is_err() {
                return;
            }
        }
    }

    /// The answer to a message; `None` for what is no question.
    pub async fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let message = Message::from_vec(bytes).ok()?;
        if message.metadata.message_type != MessageType::Query {
            return None;
        }
        self.metrics.requests.inc();
        if let Some(reply) = self.own(&message) {
            let limit = match tcp {
                true => usize::from(u16::MAX),
                false => UDP_MAX.max(usize::from(message.max_payload())),
            };
            let bytes = reply.to_vec().ok()?;
            return if bytes.len() <= limit { Some(bytes) } else { reply.truncate().to_vec().ok() };
        }
        self.metrics.upstream_requests.inc();
        match self.upstream.ask(bytes, tcp).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.metrics.upstream_failures.inc();
                debug!(%error, "no resolver helped");
                let mut failure =
                    Message::error_msg(message.metadata.id, message.metadata.op_code, ResponseCode::ServFail);
                failure.queries.clone_from(&message.queries);
                failure.to_vec().ok()
            }
        }
    }

    /// The answer from the table; `None` when the question is for the resolvers. A name of the mesh without an address of
    /// the wanted family has no such address anywhere.
    fn own(&self, message: &Message) -> Option<Message> {
        let [query] = message.queries.as_slice() else { return None };
        let wanted = query.query_type();
        let fits = message.metadata.op_code == OpCode::Query && query.query_class() == DNSClass::IN;
        if !fits || !matches!(wanted, RecordType::A | RecordType::AAAA) {
            return None;
        }
        let name = query.name().to_ascii().to_ascii_lowercase();
        let table = self.table.borrow().clone();
        let found = table.find(name.trim_end_matches('.'))?;
        let mut reply = reply_to(message, query);
        reply.answers = records(query, found);
        Some(reply)
    }
}

/// The addresses of the wanted family, in an order that spreads clients.
fn records(query: &Query, found: Found<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    let mut owner = query.name().clone();
    if let Some(meant) = found.meant.and_then(|meant| Name::from_ascii(format!("{meant}.")).ok()) {
        records.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(meant.clone()))));
        owner = meant;
    }
    let data = |ip: &IpAddr| match (ip, query.query_type()) {
        (IpAddr::V4(ip), RecordType::A) => Some(RData::A(A(*ip))),
        (IpAddr::V6(ip), RecordType::AAAA) => Some(RData::AAAA(AAAA(*ip))),
        _ => None,
    };
    let mut all: Vec<RData> = found.addresses.iter().filter_map(data).collect();
    fastrand::shuffle(&mut all);
    records.extend(all.into_iter().map(|data| Record::from_rdata(owner.clone(), TTL, data)));
    records
}

fn reply_to(message: &Message, query: &Query) -> Message {
    let mut reply = Message::response(message.metadata.id, message.metadata.op_code);
    reply.metadata.recursion_desired = message.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    reply.queries = vec![query.clone()];
    reply
}

#[cfg(test)]
mod tests;
