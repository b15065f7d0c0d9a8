//! What is sent again, and what is not.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use crate::harness::*;

pub fn with_retries(on: &str) -> String {
    format!(
        r#"{{ match: {{ prefix: "/" }}, route: {{ cluster: app, retry_policy: {{ retry_on: "{on}", num_retries: 2, retry_back_off: {{ base_interval: 0.001s }},
        retry_host_predicate: [ {{ name: envoy.retry_host_predicates.previous_hosts }} ] }} }} }}"#
    )
}

async fn failing(times: usize) -> Upstream {
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(times));
    Upstream::start(move |request| {
        let left = left.clone();
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            let fail = left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
            let mut response = Response::new(Full::from(request.into_body()));
            *response.status_mut() = if fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            response
        }
    })
    .await
}

pub fn post() -> Request<Full<Bytes>> {
    Request::post("/pay").header("host", "a").body(Full::from("money")).unwrap()
}

#[tokio::test]
async fn a_retried_request_has_its_whole_body() {
    let app = failing(2).await;
    let engine =
        start(&bootstrap_of(&[listener(&with_retries("5xx"), "")], &[cluster("app", app.address, "")])).await;
    let seen = send(engine.listener_address("web").unwrap(), post()).await;
    assert_eq!((seen.status, seen.body.as_str(), app.requests()), (200, "money", 3));
}

#[tokio::test]
async fn retries_end_with_the_last_answer() {
    let app = failing(10).await;
    let engine =
        start(&bootstrap_of(&[listener(&with_retries("5xx"), "")], &[cluster("app", app.address, "")])).await;
    let seen = send(engine.listener_address("web").unwrap(), post()).await;
    assert_eq!((seen.status, app.requests()), (503, 3));
}

#[tokio::test]
async fn istios_default_never_repeats_a_request_that_was_answered() {
    let app = failing(1).await;
    let on = "connect-failure,refused-stream,unavailable,cancelled";
    let engine =
        start(&bootstrap_of(&[listener(&with_retries(on), "")], &[cluster("app", app.address, "")])).await;
    let seen = send(engine.listener_address("web").unwrap(), post()).await;
    assert_eq!((seen.status, app.requests()), (503, 1));
}

#[tokio::test]
async fn istios_default_never_repeats_a_request_that_may_have_arrived() {
    let hits = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = hits.clone();
    let app = raw_server(move |mut stream, _| {
        let counter = counter.clone();
        async move {
            read_head(&mut stream).await;
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    })
    .await;
    let on = "connect-failure,refused-stream,unavailable,cancelled";
    let engine = start(&bootstrap_of(&[listener(&with_retries(on), "")], &[cluster("app", app, "")])).await;
    assert_eq!(send(engine.listener_address("web").unwrap(), post()).await.status, 503);
    assert_eq!(hits.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_avoided() {
    let app = Upstream::echo().await;
    let dead = closed_port().await;
    let both = format!(
        "{{ name: app, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: app, endpoints: [ {{ lb_endpoints: [ {}, {} ] }} ] }} }}",
        endpoint(dead),
        endpoint(app.address)
    );
    let engine = start(&bootstrap_of(&[listener(&with_retries("connect-failure"), "")], &[both])).await;
    for _ in 0..10 {
        assert_eq!(send(engine.listener_address("web").unwrap(), get("/")).await.status, 200);
    }
}

/// Two sidecars before two pods of one service, as an outbound cluster sees them: one application has died.
#[tokio::test]
async fn what_a_sidecar_could_not_deliver_is_sent_to_another_host() {
    let app = Upstream::echo().await;
    let plain = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let dead = cluster("app", closed_port().await, "");
    // Only a proxy that asks is told that nothing was delivered.
    let inbound = listener(plain, "").replacen("{ name: web,", "{ name: web, traffic_direction: INBOUND,", 1);
    let broken = start(&bootstrap_of(&[inbound], &[dead])).await;
    let whole = start(&bootstrap_of(&[listener(plain, "")], &[cluster("app", app.address, "")])).await;
    let at = |engine: &meltemi_proxy::engine::Handle| endpoint(engine.listener_address("web").unwrap());
    let both = format!(
        "{{ name: app, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: app, endpoints: [ {{ lb_endpoints: [ {}, {} ] }} ] }} }}",
        at(&broken),
        at(&whole)
    );
    let client = start(&bootstrap_of(&[listener(&with_retries("connect-failure"), "")], &[both])).await;
    for count in 1..=10 {
        let seen = send(client.listener_address("web").unwrap(), post()).await;
        assert_eq!((seen.status, app.requests()), (200, count));
        assert_eq!(seen.header("x-meltemi-not-delivered"), None);
    }
    let refused = send(broken.listener_address("web").unwrap(), post()).await;
    assert_eq!((refused.status, refused.header("x-meltemi-not-delivered")), (503, Some("true")));
}

#[tokio::test]
async fn an_application_cannot_say_that_it_was_not_reached() {
    let app = Upstream::start(|_| async {
        let answer = Response::builder().status(503).header("x-meltemi-not-delivered", "true");
        answer.body(Full::default()).unwrap()
    })
    .await;
    let plain = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let sidecar = start(&bootstrap_of(&[listener(plain, "")], &[cluster("app", app.address, "")])).await;
    let sidecar_at = sidecar.listener_address("web").unwrap();
    let through = cluster("app", sidecar_at, "");
    let client = start(&bootstrap_of(&[listener(&with_retries("connect-failure"), "")], &[through])).await;
    let seen = send(client.listener_address("web").unwrap(), post()).await;
    assert_eq!((seen.status, app.requests()), (503, 1));
}

fn endpoint(address: std::net::SocketAddr) -> String {
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}",
        address.ip(),
        address.port()
    )
}

#[tokio::test]
async fn a_full_circuit_breaker_is_uo() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    })
    .await;
    let limits = ", circuit_breakers: { thresholds: [ { max_connections: 1, max_pending_requests: 1 } ] }";
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app, timeout: 3s } }"#;
    let yaml = bootstrap_of(&[listener(route, "")], &[cluster("app", app, limits)]);
    let engine = start(&yaml).await;
    let web = engine.listener_address("web").unwrap();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..8 {
        running.spawn(send(web, get("/")));
    }
    let first = running.join_next().await.unwrap().unwrap();
    assert_eq!(first.status, 503);
    assert_eq!(first.header("x-envoy-overloaded"), Some("true"));
    assert!(first.body.ends_with("reset reason: overflow"), "{}", first.body);
}

#[tokio::test]
async fn mirrors_get_a_copy_and_nobody_waits_for_them() {
    let (app, shadow) = (Upstream::echo().await, Upstream::echo().await);
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app, request_mirror_policies: [ { cluster: shadow } ] } }"#;
    let clusters = [cluster("app", app.address, ""), cluster("shadow", shadow.address, "")];
    let engine = start(&bootstrap_of(&[listener(route, "")], &clusters)).await;
    assert_eq!(send(engine.listener_address("web").unwrap(), post()).await.status, 200);
    for _ in 0..100 {
        if shadow.requests() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the mirror got nothing");
}

#[tokio::test]
async fn what_met_a_dead_connection_is_sent_again_when_that_cannot_do_anything_twice() {
    // The second request has to wait for the connection of the first.
    const ONE: &str = ", circuit_breakers: { thresholds: [ { max_connections: 1 } ] }";
    let put = Request::put("/").header("host", "a").body(Full::from("money")).unwrap();
    assert_eq!(on_a_reused_connection(put, "", b"").await, 200);
    // The host may have acted on it before the connection was lost.
    assert_eq!(on_a_reused_connection(post(), ONE, b"").await, 503);
    // A host that speaks nonsense was alive.
    let put = Request::put("/").header("host", "a").body(Full::from("money")).unwrap();
    assert_eq!(on_a_reused_connection(put, ONE, b"nonsense\r\n\r\n").await, 502);
}

/// The first connection answers once; to the second request it says `last` and goes away. How that request ended.
async fn on_a_reused_connection(request: Request<Full<Bytes>>, limits: &str, last: &'static [u8]) -> u16 {
    use tokio::io::AsyncWriteExt;
    let app = raw_server(move |mut stream, number| async move {
        read_head(&mut stream).await;
        let mut body = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        if number == 0 {
            stream.peek(&mut [0]).await.unwrap();
            if last.is_empty() {
                // With the request unread, which the kernel answers with a reset.
                return;
            }
            read_head(&mut stream).await;
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
            return stream.write_all(last).await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    })
    .await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    let yaml = bootstrap_of(&[listener(route, "")], &[cluster("app", app, limits)]);
    let engine = start(&yaml).await;
    let stream = tokio::net::TcpStream::connect(engine.listener_address("web").unwrap()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(read(sender.send_request(post()).await.unwrap()).await.status, 200);
    sender.ready().await.unwrap();
    read(sender.send_request(request).await.unwrap()).await.status
}

#[tokio::test]
async fn a_host_that_does_not_answer_in_time_is_avoided() {
    let app = Upstream::echo().await;
    let silent = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    })
    .await;
    let both = format!(
        "{{ name: app, type: STATIC, connect_timeout: 1s, lb_policy: RING_HASH, circuit_breakers: {{ thresholds: [ {{ max_retries: 100 }} ] }}, load_assignment: {{ cluster_name: app, endpoints: [ {{ lb_endpoints: [ {}, {} ] }} ] }} }}",
        endpoint(silent),
        endpoint(app.address)
    );
    let route = with_retries("gateway-error")
        .replace("num_retries: 2", "num_retries: 6, per_try_timeout: 1s")
        .replace(
            "cluster: app,",
            "cluster: app, timeout: 30s, hash_policy: [ { header: { header_name: x-key } } ],",
        );
    let engine = start(&bootstrap_of(&[listener(&route, "")], &[both])).await;
    let web = engine.listener_address("web").unwrap();
    // By its hash alone a request would go where it waited in vain again and again.
    let keyed =
        |key: u16| Request::get("/").header("host", "a").header("x-key", key).body(Full::default()).unwrap();
    let mut running: tokio::task::JoinSet<_> = (0..16).map(|key| send(web, keyed(key))).collect();
    while let Some(seen) = running.join_next().await {
        let seen = seen.unwrap();
        assert_eq!(seen.status, 200, "{}", seen.body);
    }
}
