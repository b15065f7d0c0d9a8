//! One transfer: connect, perhaps TLS, one request, one answer, perhaps redirects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::args::{Args, Version};
use super::failure::Failure;

/// The largest body that is kept, in bytes.
const LARGEST_BODY: usize = 256 << 20;
const MOST_REDIRECTS: u32 = 50;

/// What a transfer brought.
#[derive(Debug, Default)]
pub struct Outcome {
    pub status: u16,
    /// Status line and headers as text, for `-i` and `-I`.
    pub head: String,
    pub body: Bytes,
    pub version: &'static str,
    pub url: String,
    pub redirects: u32,
    pub location: Option<String>,
    pub content_type: Option<String>,
    pub remote: Option<std::net::SocketAddr>,
    pub connected: Duration,
    pub first_byte: Duration,
    pub total: Duration,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Transfers a URL, following redirects with `-L`, within `--max-time`.
pub async fn follow(args: &Args, url: &str) -> Result<Outcome, Failure> {
    let limit = args.max_time.unwrap_or(Duration::MAX);
    let transfer = tokio::time::timeout(limit, follow_all(args, url)).await;
    transfer.unwrap_or(Err(Failure::Timeout(limit.as_millis())))
}

async fn follow_all(args: &Args, url: &str) -> Result<Outcome, Failure> {
    let mut uri = parse(url)?;
    for redirects in 0..=MOST_REDIRECTS {
        let mut outcome = once(args, &uri).await?;
        outcome.redirects = redirects;
        let redirect = (300..400).contains(&outcome.status) && args.location;
        match outcome.location.clone().filter(|_| redirect) {
            Some(location) => uri = relative(&uri, &location)?,
            None => return Ok(outcome),
        }
    }
    Err(Failure::Redirects(MOST_REDIRECTS))
}

/// A URL as users type it: the scheme may be missing.
fn parse(url: &str) -> Result<Uri, Failure> {
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri =
        full.split('#').next().unwrap_or_default().parse().map_err(|_| Failure::Url(url.into()))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") | None => Err(Failure::Url(url.into())),
        Some(other) => Err(Failure::Scheme(other.into())),
    }
}

fn relative(base: &Uri, location: &str) -> Result<Uri, Failure> {
    if location.contains("://") {
        return parse(location);
    }
    let authority = base.authority().map(ToString::to_string).unwrap_or_default();
    parse(&format!("{}://{authority}{location}", base.scheme_str().unwrap_or("http")))
}

async fn once(args: &Args, uri: &Uri) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let tcp = connect(args, &host, port).await?;
    let remote = tcp.peer_addr().ok();
    note(args, || {
        format!(
            "* Connected to {host} ({}) port {port}",
            remote.map(|r| r.ip().to_string()).unwrap_or_default()
        )
    });
    let connected = start.elapsed();
    let (stream, h2): (Box<dyn Stream>, bool) =
        if https { secure(args, &host, tcp).await? } else { (Box::new(tcp), args.version == Version::Http2) };
    let request = request(args, uri, h2)?;
    note(args, || shown_request(&request));
    let response = send(stream, request, h2).await?;
    let first_byte = start.elapsed();
    let mut outcome = head(&response, uri);
    note(args, || outcome.head.lines().map(|line| format!("< {line}\n")).collect());
    (outcome.remote, outcome.connected, outcome.first_byte) = (remote, connected, first_byte);
    let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
    outcome.body = body.map_err(|error| Failure::Receive(error.to_string()))?.to_bytes();
    outcome.total = start.elapsed();
    Ok(outcome)
}

async fn connect(args: &Args, host: &str, port: u16) -> Result<TcpStream, Failure> {
    let pinned = args.resolve.iter().find(|(name, p, _)| name == host && *p == port);
    let name = pinned.map_or(host, |(_, _, address)| address.as_str());
    let mut addresses =
        tokio::net::lookup_host((name, port)).await.map_err(|_| Failure::Resolve(host.into()))?.peekable();
    if addresses.peek().is_none() {
        return Err(Failure::Resolve(host.into()));
    }
    let limit = args.connect_timeout.unwrap_or(Duration::from_secs(120));
    let mut cause = String::new();
    for address in addresses {
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => cause = error.to_string(),
            Err(_) => return Err(Failure::Timeout(limit.as_millis())),
        }
    }
    Err(Failure::Connect { host: host.into(), port, cause })
}

async fn secure(args: &Args, host: &str, tcp: TcpStream) -> Result<(Box<dyn Stream>, bool), Failure> {
    let config = Arc::new(super::tls::config(args)?);
    let name =
        rustls_pki_types::ServerName::try_from(host.to_owned()).map_err(|_| Failure::Url(host.into()))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("invalid peer certificate") {
            Failure::Certificate(text)
        } else {
            Failure::Tls(text)
        }
    })?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), h2))
}

fn request(args: &Args, uri: &Uri, h2: bool) -> Result<Request<Full<Bytes>>, Failure> {
    let method = match &args.method {
        Some(method) => Method::from_bytes(method.as_bytes()).map_err(|_| Failure::Url(method.clone()))?,
        None if args.head => Method::HEAD,
        None if args.data.is_some() && !args.get => Method::POST,
        None => Method::GET,
    };
    let mut path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut body = Bytes::new();
    match &args.data {
        Some(data) if args.get => {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&String::from_utf8_lossy(data));
        }
        Some(data) => body = data.clone().into(),
        None => {}
    }
    let has = |name: &str| args.headers.iter().any(|(header, _)| header == name);
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = args.headers.iter().find(|(name, _)| name == "host").map_or(authority, |(_, value)| value);
    let target = if h2 { format!("{}://{host}{path}", uri.scheme_str().unwrap_or("http")) } else { path };
    let mut builder = Request::builder().method(method).uri(target).version(match (h2, args.version) {
        (true, _) => http::Version::HTTP_2,
        (_, Version::Http10) => http::Version::HTTP_10,
        _ => http::Version::HTTP_11,
    });
    if !h2 {
        builder = builder.header("host", host);
    }
    if !has("user-agent") {
        builder = builder.header("user-agent", "curl/8.9.1");
    }
    if !has("accept") {
        builder = builder.header("accept", "*/*");
    }
    if args.data.is_some() && !args.get && !has("content-type") {
        builder = builder.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in args.headers.iter().filter(|(name, value)| name != "host" && !value.is_empty()) {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body)).map_err(|error| Failure::Url(error.to_string()))
}

async fn send(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
    h2: bool,
) -> Result<Response<Incoming>, Failure> {
    let io = TokioIo::new(stream);
    let response = if h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    response.map_err(broken)
}

fn broken(error: hyper::Error) -> Failure {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Failure::Empty;
    }
    let source = std::error::Error::source(&error).map(ToString::to_string);
    Failure::Receive(source.unwrap_or_else(|| error.to_string()))
}

fn head(response: &Response<Incoming>, uri: &Uri) -> Outcome {
    let version = match response.version() {
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let status = response.status();
    let mut head = format!("HTTP/{version} {}", status.as_u16());
    if version != "2" {
        head.push(' ');
        head.push_str(status.canonical_reason().unwrap_or_default());
    }
    head.push_str("\r\n");
    for (name, value) in response.headers() {
        head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    }
    head.push_str("\r\n");
    let text = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Outcome {
        status: status.as_u16(),
        head,
        version,
        url: uri.to_string(),
        location: text("location"),
        content_type: text("content-type"),
        ..Outcome::default()
    }
}

fn note(args: &Args, text: impl FnOnce() -> String) {
    if args.verbose {
        eprintln!("{}", text().trim_end());
    }
}

fn shown_request(request: &Request<Full<Bytes>>) -> String {
    let mut text = format!("> {} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        let secret = name == "authorization" || name == "cookie";
        let value = if secret { "[redacted]".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        text.push_str(&format!("> {name}: {value}\n"));
    }
    text
}
