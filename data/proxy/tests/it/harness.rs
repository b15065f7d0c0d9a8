//! Upstreams, clients and bootstraps for the tests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use meltemi_proxy::engine::{Engine, Handle, Options, bootstrap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that speaks HTTP/1 and HTTP/2 and counts its requests.
pub struct Upstream {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers every request with `answer`.
    pub async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Full<Bytes>>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, counter) = (answer.clone(), counter.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        counter.fetch_add(1, Ordering::SeqCst);
                        let answer = answer.clone();
                        async move {
                            let (parts, body) = request.into_parts();
                            let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                            Ok::<_, Infallible>(answer(Request::from_parts(parts, body)).await)
                        }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, requests }
    }

    /// Answers with the method, the path, the headers and the body it got, one a line.
    pub async fn echo() -> Self {
        Self::start(|request| async move {
            let mut text = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            text.push('\n');
            text.push_str(&String::from_utf8_lossy(request.body()));
            Response::new(Full::from(text))
        })
        .await
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A server that does with each connection what a function says.
pub async fn raw_server<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, number));
        }
    });
    address
}

/// An address where nobody listens, nor will while the tests run.
pub async fn closed_port() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

/// An address where one may listen.
pub async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads a request's head from a raw connection.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Starts an engine with two workers and waits until it is ready.
pub async fn start(yaml: &str) -> Handle {
    let handle = start_cold(yaml);
    tokio::time::timeout(Duration::from_secs(20), handle.ready()).await.expect("the engine gets ready");
    handle
}

/// Starts an engine with one worker, whose requests share their upstream connections.
pub async fn start_one(yaml: &str) -> Handle {
    let bootstrap = bootstrap::parse(yaml).expect("the bootstrap is read");
    let options = Options { concurrency: 1, ..Options::default() };
    let engine = Engine::start(bootstrap, options).expect("the engine starts");
    engine.ready().await;
    engine
}

/// Starts an engine without waiting.
pub fn start_cold(yaml: &str) -> Handle {
    let bootstrap = bootstrap::parse(yaml).expect("the bootstrap is read");
    let options = Options { concurrency: 2, drain_time: Duration::from_secs(2), ..Options::default() };
    Engine::start(bootstrap, options).expect("the engine starts")
}

/// A static cluster in flow style.
pub fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "{{ name: {name}, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ \
         {{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }}{more} }}",
        address.ip(),
        address.port()
    )
}

/// A listener named `web` on a free port, with the given routes (flow style) and more of its connection manager.
pub fn listener(routes: &str, hcm: &str) -> String {
    format!(
        r#"{{ name: web, address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}, filter_chains: [ {{ filters: [ {{
        name: http, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
        stat_prefix: web, http_filters: [ {{ name: router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ],
        route_config: {{ name: r, virtual_hosts: [ {{ name: all, domains: ["*"], routes: [ {routes} ] }} ] }} {hcm} }} }} ] }} ] }}"#
    )
}

/// A bootstrap of these listeners and clusters.
pub fn bootstrap_of(listeners: &[String], clusters: &[String]) -> String {
    format!(
        "node: {{ id: test, cluster: test }}\nadmin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}\n\
         static_resources:\n  listeners: [ {} ]\n  clusters: [ {} ]\n",
        listeners.join(", "),
        clusters.join(", ")
    )
}

/// What a client saw.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub trailers: Option<http::HeaderMap>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

/// Sends one request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Seen {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request).await.unwrap()).await
}

/// Sends one request over HTTP/2.
pub async fn send_http2(address: SocketAddr, request: Request<Full<Bytes>>) -> Seen {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request).await.unwrap()).await
}

pub async fn read(response: Response<Incoming>) -> Seen {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.expect("the body arrives");
    let trailers = collected.trailers().cloned();
    let body = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    Seen { status: parts.status.as_u16(), headers: parts.headers, trailers, body }
}

/// A GET request for a path of host `test`.
pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "test").body(Full::default()).unwrap()
}

/// Sends bytes and reads everything until the other side closes.
pub async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset ends it as well as a close does.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
