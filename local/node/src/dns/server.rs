//! The DNS server: UDP and TCP on the cluster's DNS address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use super::DOMAIN;
use super::upstream::Upstream;
use super::zone::{Answer, Data, Kind, Zone};

/// Seconds that cluster names may be cached, as Kubernetes' default.
const TTL: u32 = 5;
/// The longest answer over UDP to a client that does not say otherwise.
const UDP_MAX: usize = 512;
const TCP_IDLE: Duration = Duration::from_secs(30);

/// A DNS server for a zone that changes.
#[derive(Clone)]
pub struct Server {
    zone: watch::Receiver<Arc<Zone>>,
    upstream: Upstream,
}

impl Server {
    /// A server for the zone, that asks `upstream` about the rest.
    pub fn new(zone: watch::Receiver<Arc<Zone>>, upstream: Upstream) -> Self {
        Self { zone, upstream }
    }

    /// Serves on an address until the task is dropped.
    pub async fn serve(self, address: SocketAddr) -> io::Result<()> {
        let udp = Arc::new(UdpSocket::bind(address).await?);
        let tcp = TcpListener::bind(address).await?;
        let server = self.clone();
        let by_tcp = tokio::spawn(async move {
            loop {
                match tcp.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(server.clone().connection(stream));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        let _stop = AbortOnDrop(by_tcp);
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((length, client)) = udp.recv_from(&mut buffer).await else { continue };
            let question = buffer.get(..length).unwrap_or_default().to_vec();
            let (server, udp) = (self.clone(), udp.clone());
            tokio::spawn(async move {
                if let Some(answer) = server.answer(&question, false).await {
                    let _ = udp.send_to(&answer, client).await;
                }
            });
        }
    }

    async fn connection(self, mut stream: TcpStream) {
        let serve = async {
            loop {
                let length = stream.read_u16().await?;
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await?;
                let Some(answer) = self.answer(&question, true).await else { return Ok(()) };
                let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
                stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
            }
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout(TCP_IDLE, serve).await;
    }

    /// The answer to a message; `None` for what is not a question.
    pub async fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let message = Message::from_vec(bytes).ok()?;
        if message.metadata.message_type != hickory_proto::op::MessageType::Query {
            return None;
        }
        let [query] = message.queries.as_slice() else {
            return Message::error_msg(message.metadata.id, message.metadata.op_code, ResponseCode::FormErr)
                .to_vec()
                .ok();
        };
        let name = query.name().to_ascii();
        let zone = self.zone.borrow().clone();
        let answer = zone.answer(name.trim_end_matches('.'), kind(query.query_type()));
        let reply = match answer {
            Answer::Outside => return Some(self.outside(bytes, &message, tcp).await),
            Answer::NoSuchName => negative(&message, query, ResponseCode::NXDomain),
            Answer::Records(found) if found.is_empty() => negative(&message, query, ResponseCode::NoError),
            Answer::Records(found) => self.positive(&message, query, found).await,
        };
        let limit = if tcp { usize::from(u16::MAX) } else { UDP_MAX.max(usize::from(message.max_payload())) };
        let bytes = reply.to_vec().ok()?;
        if bytes.len() <= limit { Some(bytes) } else { reply.truncate().to_vec().ok() }
    }

    async fn outside(&self, bytes: &[u8], message: &Message, tcp: bool) -> Vec<u8> {
        match self.upstream.ask(bytes, tcp).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "the host's resolvers did not help");
                let failure =
                    Message::error_msg(message.metadata.id, message.metadata.op_code, ResponseCode::ServFail);
                let mut failure = failure;
                failure.queries = message.queries.clone();
                failure.to_vec().unwrap_or_default()
            }
        }
    }

    async fn positive(&self, message: &Message, query: &Query, found: Vec<Data>) -> Message {
        let mut reply = reply_to(message, query);
        for data in found {
            let alias = if let Data::Cname(target) = &data { Some(target.clone()) } else { None };
            if let Some(data) = rdata(data) {
                reply.answers.push(Record::from_rdata(query.name().clone(), TTL, data));
            }
            if let Some(target) = alias
                && query.query_type() != RecordType::CNAME
            {
                reply.answers.extend(self.follow(&target, query.query_type()).await);
            }
        }
        reply
    }

    /// What an alias resolves to: in the zone (one step), or outside.
    async fn follow(&self, target: &str, wanted: RecordType) -> Vec<Record> {
        let Ok(name) = Name::from_ascii(format!("{target}.")) else { return Vec::new() };
        let found = self.zone.borrow().answer(target, kind(wanted));
        match found {
            Answer::Records(found) => {
                let data = found.into_iter().filter_map(rdata);
                data.map(|data| Record::from_rdata(name.clone(), TTL, data)).collect()
            }
            Answer::NoSuchName => Vec::new(),
            Answer::Outside => {
                let mut question =
                    Message::new(fastrand::u16(..), hickory_proto::op::MessageType::Query, OpCode::Query);
                question.metadata.recursion_desired = true;
                question.add_query(Query::query(name, wanted));
                let Ok(bytes) = question.to_vec() else { return Vec::new() };
                let Ok(answer) = self.upstream.ask(&bytes, false).await else { return Vec::new() };
                Message::from_vec(&answer).map(|m| m.answers).unwrap_or_default()
            }
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn kind(wanted: RecordType) -> Kind {
    match wanted {
        RecordType::A => Kind::A,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::CNAME => Kind::Cname,
        _ => Kind::Other,
    }
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}

fn rdata(data: Data) -> Option<RData> {
    Some(match data {
        Data::A(address) => RData::A(A(address)),
        Data::Srv { port, target } => RData::SRV(SRV::new(0, 100, port, absolute(&target)?)),
        Data::Ptr(name) => RData::PTR(PTR(absolute(&name)?)),
        Data::Cname(name) => RData::CNAME(CNAME(absolute(&name)?)),
    })
}

fn reply_to(message: &Message, query: &Query) -> Message {
    let mut reply = Message::response(message.metadata.id, message.metadata.op_code);
    reply.metadata.recursion_desired = message.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    reply.queries = vec![query.clone()];
    reply
}

/// An answer without records: the start of authority lets clients cache it.
fn negative(message: &Message, query: &Query, code: ResponseCode) -> Message {
    let mut reply = reply_to(message, query);
    reply.metadata.response_code = code;
    if let (Some(zone), Some(server), Some(contact)) =
        (absolute(DOMAIN), absolute("ns.dns.cluster.local"), absolute("hostmaster.cluster.local"))
    {
        let soa = SOA::new(server, contact, 1, 7200, 1800, 86400, TTL);
        reply.authorities.push(Record::from_rdata(zone, TTL, RData::SOA(soa)));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_ports::HostPorts;
    use serde_json::json;

    fn server(resolv_conf: &str) -> Server {
        let web =
            json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.4.4"}});
        let zone = Zone::build(&[serde_json::from_value(web).unwrap()], &[]);
        let (_, zone) = watch::channel(Arc::new(zone));
        Server::new(zone, Upstream::new(HostPorts::direct(), resolv_conf))
    }

    async fn ask(server: &Server, name: &str, kind: RecordType) -> Message {
        let mut question = Message::new(7, hickory_proto::op::MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        Message::from_vec(&server.answer(&question.to_vec().unwrap(), false).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_service_has_an_address_and_nothing_else() {
        let server = server("");
        let reply = ask(&server, "web.default.svc.cluster.local.", RecordType::A).await;
        assert_eq!(reply.answers[0].data, RData::A(A("10.96.4.4".parse().unwrap())));
        let reply = ask(&server, "web.default.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
        let reply = ask(&server, "no.default.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!((reply.metadata.response_code, reply.authorities.len()), (ResponseCode::NXDomain, 1));
    }

    #[tokio::test]
    async fn without_resolvers_outside_names_fail_at_once() {
        let reply = ask(&server(""), "example.org.", RecordType::A).await;
        assert_eq!((reply.metadata.response_code, reply.metadata.id), (ResponseCode::ServFail, 7));
    }

    #[tokio::test]
    async fn garbage_is_not_answered() {
        assert_eq!(server("").answer(b"garbage", false).await, None);
        assert_eq!(server("").answer(&[], true).await, None);
    }
}
