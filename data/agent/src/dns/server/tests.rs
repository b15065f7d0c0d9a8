use meltemi_process::metrics::Registry;
use meltemi_proto::istio::nds::NameTable;
use meltemi_proto::istio::nds::name_table::NameInfo;

use super::*;

/// A resolver that knows one address for everything, and says by which protocol it was asked.
async fn resolver() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let reply = |bytes: &[u8], ip: [u8; 4]| {
        let message = Message::from_vec(bytes).unwrap();
        let mut reply = reply_to(&message, &message.queries[0]);
        let data = RData::A(A(ip.into()));
        reply.answers = vec![Record::from_rdata(message.queries[0].name().clone(), 7, data)];
        reply.to_vec().unwrap()
    };
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, client) = udp.recv_from(&mut buffer).await.unwrap();
            // An answer to another question comes first.
            let mut stray = reply(&buffer[..length], [6, 6, 6, 6]);
            stray[0] ^= 0xff;
            udp.send_to(&stray, client).await.unwrap();
            udp.send_to(&reply(&buffer[..length], [1, 1, 1, 1]), client).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let answer = reply(&question, [2, 2, 2, 2]);
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

fn server(upstream: Upstream) -> Server {
    let info = |ips: &[&str]| NameInfo {
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        ..Default::default()
    };
    let many: Vec<String> = (1..=100).map(|last| format!("240.240.1.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let table = [
        ("db.example", info(&["240.240.0.3"])),
        ("both.example", info(&["10.0.0.1", "fd00::1"])),
        ("many.example", info(&many)),
    ];
    let message = NameTable { table: table.map(|(name, info)| (name.to_owned(), info)).into() };
    let table = Table::new(&message, "default", "default.svc.cluster.local");
    let (_, table) = watch::channel(Arc::new(table));
    let registry = Registry::new();
    let metrics = DnsMetrics {
        requests: registry.counter("requests", "x"),
        upstream_requests: registry.counter("upstream_requests", "x"),
        upstream_failures: registry.counter("upstream_failures", "x"),
    };
    Server::new(table, upstream, metrics, None)
}

async fn ask(server: &Server, name: &str, kind: RecordType, tcp: bool) -> Message {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    Message::from_vec(&server.answer(&question.to_vec().unwrap(), tcp).await.unwrap()).unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn names_of_the_mesh_are_answered_here_and_all_others_by_the_resolver() {
    let server = server(Upstream::new([resolver().await], None));
    let asked = async |name: &str, kind, tcp| addresses(&ask(&server, name, kind, tcp).await);
    assert_eq!(asked("db.example.", RecordType::A, false).await, ["240.240.0.3"]);
    assert_eq!(asked("DB.Example.", RecordType::A, true).await, ["240.240.0.3"]);
    assert_eq!(
        asked("db.example.", RecordType::AAAA, false).await,
        [""; 0],
        "no such address, and none elsewhere"
    );
    assert_eq!(asked("both.example.", RecordType::AAAA, false).await, ["fd00::1"]);
    let expanded = asked("db.example.default.svc.cluster.local.", RecordType::A, false).await;
    assert_eq!(expanded, ["db.example.", "240.240.0.3"]);
    assert_eq!(server.metrics.upstream_requests.get(), 0);
    assert_eq!(asked("example.org.", RecordType::A, false).await, ["1.1.1.1"]);
    assert_eq!(asked("example.org.", RecordType::A, true).await, ["2.2.2.2"]);
    assert_eq!(
        asked("db.example.", RecordType::TXT, false).await,
        ["1.1.1.1"],
        "other kinds of records, too"
    );
    assert_eq!((server.metrics.requests.get(), server.metrics.upstream_requests.get()), (8, 3));
}

#[tokio::test]
async fn a_resolver_that_does_not_answer_is_passed_over() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = server(Upstream::new([closed, resolver().await], None));
    assert_eq!(addresses(&ask(&server, "example.org.", RecordType::A, false).await), ["1.1.1.1"]);
}

#[tokio::test]
async fn without_a_resolver_others_names_fail_at_once() {
    let server = server(Upstream::of_resolv_conf("# nothing\n", None));
    let reply = ask(&server, "example.org.", RecordType::A, false).await;
    assert_eq!((reply.metadata.response_code, reply.metadata.id), (ResponseCode::ServFail, 7));
    assert_eq!(server.metrics.upstream_failures.get(), 1);
}

#[tokio::test]
async fn an_answer_too_long_for_udp_says_so() {
    let server = server(Upstream::new([], None));
    let short = ask(&server, "many.example.", RecordType::A, false).await;
    assert!(short.metadata.truncation && short.answers.len() < 100);
    let whole = ask(&server, "many.example.", RecordType::A, true).await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 100));
}

#[tokio::test]
async fn garbage_is_not_answered() {
    let server = server(Upstream::new([], None));
    for bytes in [&b""[..], b"garbage", &[0; 12], &[0xff; 40]] {
        let answer = server.answer(bytes, false).await;
        let parsed = answer.map(|bytes| Message::from_vec(&bytes).unwrap().metadata.response_code);
        assert!(matches!(parsed, None | Some(ResponseCode::ServFail)), "{parsed:?}");
    }
}
