//! `httpbin`: shows a request back to its sender, and answers in the ways that tests need.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, OriginalUri, Path, Query};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Map, Value, json};

/// The longest delay and the largest body that a client can ask for.
const LONGEST_DELAY: f64 = 10.0;
const LARGEST_BODY: usize = 1 << 20;

/// Serves on `--port N` (80 where none is given) until told to stop.
pub async fn run(args: &[String]) -> anyhow::Result<()> {
    let flag = args.iter().position(|arg| arg == "--port" || arg == "-port").and_then(|at| args.get(at + 1));
    let port = flag.and_then(|port| port.parse().ok()).unwrap_or_else(|| crate::serve::env_port("PORT", 80));
    crate::serve::http(port, router()).await
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "httpbin: try /get, /headers, /status/418, /delay/1, /anything\n" }))
        .route("/get", get(anything))
        .route("/post", any(anything))
        .route("/put", any(anything))
        .route("/delete", any(anything))
        .route("/patch", any(anything))
        .route("/anything", any(anything))
        .route("/anything/{*rest}", any(anything))
        .route(
            "/headers",
            get(|headers: HeaderMap| async move { pretty(json!({"headers": fields(&headers)})) }),
        )
        .route("/ip", get(ip))
        .route("/user-agent", get(user_agent))
        .route("/uuid", get(|| async { pretty(json!({"uuid": uuid()})) }))
        .route("/status/{code}", any(status))
        .route("/delay/{seconds}", any(delay))
        .route("/bytes/{count}", get(bytes))
        .route("/response-headers", get(response_headers))
        .route(
            "/hostname",
            get(|| async { pretty(json!({"hostname": crate::serve::env("HOSTNAME", "unknown")})) }),
        )
}

async fn anything(
    method: Method,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<Vec<(String, String)>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut args: Map<String, Value> = Map::new();
    for (name, value) in query {
        if let Some(list) = args.entry(name).or_insert_with(|| json!([])).as_array_mut() {
            list.push(value.into());
        }
    }
    pretty(json!({
        "args": args,
        "headers": fields(&headers),
        "method": method.as_str(),
        "origin": origin(&headers, peer),
        "url": format!("http://{host}{uri}"),
        "data": String::from_utf8_lossy(&body),
        "json": serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null),
    }))
}

async fn ip(ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap) -> Response {
    pretty(json!({"origin": origin(&headers, peer)}))
}

async fn user_agent(headers: HeaderMap) -> Response {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    pretty(json!({"user-agent": agent}))
}

/// Answers one status, or one of several by weight: `200:0.9,500:0.1`.
async fn status(Path(codes): Path<String>) -> Response {
    let choices: Option<Vec<(u16, f32)>> = codes.split(',').map(choice).collect();
    let Some(choices) = choices.filter(|choices| !choices.is_empty()) else {
        return (StatusCode::BAD_REQUEST, "Invalid status\n").into_response();
    };
    let mut left = fastrand::f32() * choices.iter().map(|(_, weight)| weight).sum::<f32>();
    let chosen = choices.iter().find(|(_, weight)| {
        left -= weight;
        left <= 0.0
    });
    let code = chosen.or(choices.last()).map_or(200, |(code, _)| *code);
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST).into_response()
}

fn choice(text: &str) -> Option<(u16, f32)> {
    let (code, weight) = text.split_once(':').unwrap_or((text, "1"));
    let code = code.trim().parse().ok().filter(|code| (200..=599).contains(code))?;
    Some((code, weight.trim().parse().ok().filter(|weight| *weight >= 0.0)?))
}

async fn delay(
    Path(seconds): Path<f64>,
    method: Method,
    uri: OriginalUri,
    peer: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seconds = if seconds.is_finite() { seconds.clamp(0.0, LONGEST_DELAY) } else { 0.0 };
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    anything(method, uri, Query(Vec::new()), peer, headers, body).await
}

async fn bytes(Path(count): Path<usize>) -> Response {
    let mut body = vec![0; count.min(LARGEST_BODY)];
    fastrand::Rng::new().fill(&mut body);
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

async fn response_headers(Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut response = pretty(json!(query));
    for (name, value) in query {
        if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn fields(headers: &HeaderMap) -> Map<String, Value> {
    let mut fields: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let list = fields.entry(canonical(name.as_str())).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
    fields
}

/// `x-request-id` as `X-Request-Id`, the way httpbin prints names.
fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut chars = part.chars();
        chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// Who asks: whom the proxies on the way name, else who is connected.
fn origin(headers: &HeaderMap, peer: SocketAddr) -> String {
    let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    forwarded.map_or_else(|| peer.ip().to_canonical().to_string(), str::to_owned)
}

fn uuid() -> String {
    let n = fastrand::u128(..);
    let (a, b, c) = (n >> 96, (n >> 80) & 0xffff, (n >> 64) & 0x0fff);
    let (d, e) = (((n >> 48) & 0x3fff) | 0x8000, n & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

fn pretty(value: Value) -> Response {
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_choices() {
        assert_eq!(choice("418"), Some((418, 1.0)));
        assert_eq!(choice("500:0.25"), Some((500, 0.25)));
        for bad in ["", "abc", "99", "200:-1", "700"] {
            assert_eq!(choice(bad), None, "{bad}");
        }
    }

    #[test]
    fn header_names_are_printed_in_their_canonical_form() {
        assert_eq!(canonical("x-request-id"), "X-Request-Id");
        assert_eq!(canonical("host"), "Host");
    }
}
