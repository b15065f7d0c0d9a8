//! Plain proxying: protocols, headers, local replies, upstreams that misbehave.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::AsyncWriteExt;

use crate::harness::*;

const TO_APP: &str = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;

async fn proxy_to(upstream: std::net::SocketAddr) -> (meltemi_proxy::engine::Handle, std::net::SocketAddr) {
    let engine = start(&bootstrap_of(&[listener(TO_APP, "")], &[cluster("app", upstream, "")])).await;
    let address = engine.listener_address("web").unwrap();
    (engine, address)
}

#[tokio::test]
async fn a_request_reaches_the_upstream_and_its_answer_the_client() {
    let app = Upstream::echo().await;
    let (_engine, web) = proxy_to(app.address).await;
    let request = Request::post("/path?q=1").header("host", "shop").body(Full::from("hello")).unwrap();
    let seen = send(web, request).await;
    assert_eq!(seen.status, 200);
    assert!(seen.body.starts_with("POST /path?q=1\n"), "{}", seen.body);
    assert!(seen.body.contains("\nhost: shop\n") && seen.body.ends_with("\n\nhello"), "{}", seen.body);
    assert!(
        seen.body.contains("\nx-request-id: ") && seen.body.contains("\nx-forwarded-proto: http\n"),
        "{}",
        seen.body
    );
    assert_eq!(seen.header("server"), Some("envoy"));
    assert!(seen.header("x-envoy-upstream-service-time").is_some() && seen.header("date").is_some());
}

#[tokio::test]
async fn http2_clients_reach_http1_upstreams() {
    let app = Upstream::echo().await;
    let (_engine, web) = proxy_to(app.address).await;
    let request = Request::get("http://shop/x").body(Full::<Bytes>::default()).unwrap();
    let seen = send_http2(web, request).await;
    assert_eq!(seen.status, 200);
    assert!(seen.body.starts_with("GET /x\n") && seen.body.contains("host: shop\n"), "{}", seen.body);
}

/// As Envoy does it.
#[tokio::test]
async fn http10_is_answered_and_closed_where_it_is_accepted() {
    let app = Upstream::echo().await;
    for (options, request, status, body) in [
        (
            "",
            "GET /old HTTP/1.0\r\nhost: a\r\n\r\n",
            "426 Upgrade Required",
            Some("\r\n\r\nUpgrade Required"),
        ),
        ("accept_http_10: true", "GET /old HTTP/1.0\r\nhost: a\r\n\r\n", "200 OK", Some("host: a\n")),
        ("accept_http_10: true", "GET /old HTTP/1.0\r\n\r\n", "400 Bad Request", None),
        (
            "accept_http_10: true, default_host_for_http_10: shop",
            "GET /old HTTP/1.0\r\n\r\n",
            "200 OK",
            Some("host: shop\n"),
        ),
    ] {
        let web = listener(TO_APP, &format!(", http_protocol_options: {{ {options} }}"));
        let engine = start_one(&bootstrap_of(&[web], &[cluster("app", app.address, "")])).await;
        let answer = talk(engine.listener_address("web").unwrap(), request.as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with("HTTP/1.") && line.ends_with(status), "{options}: {answer}");
        assert!(body.is_none_or(|body| answer.contains(body)), "{options}: {answer}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_uf() {
    let (engine, web) = proxy_to(closed_port().await).await;
    let seen = send(web, get("/")).await;
    assert_eq!(seen.status, 503);
    assert_eq!(
        seen.body,
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
         transport failure reason: delayed connect error: Connection refused"
    );
    drop(engine);
}

#[tokio::test]
async fn an_upstream_that_closes_at_once_is_uc() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
    })
    .await;
    let (_engine, web) = proxy_to(app).await;
    let seen = send(web, get("/")).await;
    assert_eq!(seen.status, 503);
    assert!(seen.body.ends_with("reset reason: connection termination"), "{}", seen.body);
}

#[tokio::test]
async fn an_upstream_that_breaks_the_protocol_is_upe() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nbro\x01ken header\r\n\r\n").await.unwrap();
    })
    .await;
    let (_engine, web) = proxy_to(app).await;
    let seen = send(web, get("/")).await;
    assert_eq!(seen.status, 502);
    assert!(seen.body.ends_with("reset reason: protocol error"), "{}", seen.body);
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_ut() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app, timeout: 0.2s } }"#;
    let engine = start(&bootstrap_of(&[listener(route, "")], &[cluster("app", app, "")])).await;
    let seen = send(engine.listener_address("web").unwrap(), get("/")).await;
    assert_eq!((seen.status, seen.body.as_str()), (504, "upstream request timeout"));
}

#[tokio::test]
async fn no_route_and_no_cluster_have_their_answers() {
    let routes = r#"{ match: { prefix: "/gone" }, route: { cluster: missing } }"#;
    // Without that the listener would be refused: what is written into it is checked.
    let unchecked = listener(routes, "").replacen("name: r,", "name: r, validate_clusters: false,", 1);
    let engine = start(&bootstrap_of(&[unchecked], &[])).await;
    let web = engine.listener_address("web").unwrap();
    assert_eq!(send(web, get("/other")).await.status, 404);
    let seen = send(web, get("/gone")).await;
    assert_eq!((seen.status, seen.body.as_str()), (503, ""));
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced_without_an_error() {
    // Answers one request a connection and closes it silently afterwards, as applications with short keep-alive do.
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        // The second request is read and the connection reset before any answer.
        read_head(&mut stream).await;
    })
    .await;
    let (_engine, web) = proxy_to(app).await;
    let stream = tokio::net::TcpStream::connect(web).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..20 {
        sender.ready().await.unwrap();
        assert_eq!(read(sender.send_request(get("/")).await.unwrap()).await.status, 200);
    }
}

#[tokio::test]
async fn a_head_request_is_complete_without_a_body() {
    let routes =
        r#"{ match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: text } } }"#;
    let engine = start(&bootstrap_of(&[listener(routes, "")], &[])).await;
    let request = Request::head("/").header("host", "a").body(Full::default()).unwrap();
    let seen = send(engine.listener_address("web").unwrap(), request).await;
    assert_eq!((seen.status, seen.header("content-length")), (200, Some("4")));
    let resets = || {
        engine.stats().samples().into_iter().find(|s| s.name == "http.web.downstream_rq_rx_reset").unwrap()
    };
    assert_eq!(resets().value, meltemi_proxy::telemetry::stats::Value::Counter(0));
}

#[tokio::test]
async fn the_admin_interface_shows_what_is_in_force() {
    let app = Upstream::echo().await;
    let (engine, web) = proxy_to(app.address).await;
    assert_eq!(send(web, get("/")).await.status, 200);
    let admin = engine.admin_address().unwrap();
    assert_eq!(send(admin, get("/ready")).await.body.trim(), "LIVE");
    let clusters = send(admin, get("/clusters")).await.body;
    assert!(clusters.contains(&format!("app::{}::rq_total::1", app.address)), "{clusters}");
    assert!(send(admin, get("/listeners")).await.body.contains(&format!("web::{web}")));
    let stats = send(admin, get("/stats?filter=cluster.app.upstream_rq_200")).await.body;
    assert_eq!(stats.trim(), "cluster.app.upstream_rq_200: 1");
    let dump = send(admin, get("/config_dump")).await.body;
    assert!(dump.contains("static_clusters") && dump.contains("static_listeners"), "{dump}");
}
