//! What routes and filters do to requests and responses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use meltemi_proxy::engine::{Engine, Options, bootstrap};
use meltemi_proxy::upstream::resolve::Lookup;
use tokio::io::AsyncWriteExt;

use crate::harness::*;

async fn ask(routes: &str, hcm: &str, request: Request<Full<bytes::Bytes>>) -> (Seen, usize) {
    let app = Upstream::echo().await;
    let engine = start(&bootstrap_of(&[listener(routes, hcm)], &[cluster("app", app.address, "")])).await;
    let seen = send(engine.listener_address("web").unwrap(), request).await;
    (seen, app.requests())
}

#[tokio::test]
async fn paths_hosts_and_headers_are_rewritten() {
    let route = r#"{ match: { prefix: "/api/" }, route: { cluster: app, prefix_rewrite: "/", host_rewrite_literal: inner, append_x_forwarded_host: true },
        request_headers_to_add: [ { header: { key: x-from, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%/%REQ(x-me)%" } } ], request_headers_to_remove: [ x-secret ],
        response_headers_to_add: [ { header: { key: x-code, value: "%RESPONSE_CODE%" } }, { header: { key: x-route, value: named } } ] }"#;
    let request =
        Request::get("/api/v1?q=1").header("host", "outer").header("x-me", "me").header("x-secret", "1");
    let (seen, _) = ask(route, "", request.body(Full::default()).unwrap()).await;
    assert!(seen.body.starts_with("GET /v1?q=1\n"), "{}", seen.body);
    for line in [
        "host: inner",
        "x-forwarded-host: outer",
        "x-envoy-original-path: /api/v1?q=1",
        "x-from: 127.0.0.1/me",
    ] {
        assert!(seen.body.lines().any(|l| l == line), "{line}: {}", seen.body);
    }
    assert!(!seen.body.contains("x-secret"));
    assert_eq!(seen.header("x-route"), Some("named"));
}

#[tokio::test]
async fn redirects_and_direct_responses_never_reach_an_upstream() {
    let routes = r#"{ match: { path: "/old" }, redirect: { https_redirect: true, path_redirect: "/new" } },
        { match: { prefix: "/" }, direct_response: { status: 418, body: { inline_string: teapot } } }"#;
    let (seen, reached) = ask(routes, "", get("/old?q")).await;
    assert_eq!((seen.status, seen.header("location"), reached), (301, Some("https://test/new?q"), 0));
    let (seen, reached) = ask(routes, "", get("/else")).await;
    assert_eq!((seen.status, seen.body.as_str(), reached), (418, "teapot", 0));
}

const FILTERS: &str = r#", http_filters: [
    { name: envoy.filters.http.fault, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } },
    { name: envoy.filters.http.cors, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors } },
    { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ]"#;

async fn filtered(per_route: &str, request: Request<Full<bytes::Bytes>>) -> (Seen, usize) {
    let route = format!(
        r#"{{ match: {{ prefix: "/" }}, route: {{ cluster: app }}, typed_per_filter_config: {{ {per_route} }} }}"#
    );
    let app = Upstream::echo().await;
    let with_filters = listener(&route, "");
    let start_of = with_filters.find("http_filters:").unwrap();
    let end_of = with_filters[start_of..].find("} } ],").unwrap() + start_of + "} } ],".len();
    let web = with_filters
        .replace(&with_filters[start_of..end_of], &format!("{},", FILTERS.trim_start_matches(", ")));
    let engine = start(&bootstrap_of(&[web], &[cluster("app", app.address, "")])).await;
    let seen = send(engine.listener_address("web").unwrap(), request).await;
    (seen, app.requests())
}

#[tokio::test]
async fn faults_are_injected_where_a_route_says_so() {
    let fault = r#"envoy.filters.http.fault: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault,
        delay: { fixed_delay: 0.05s, percentage: { numerator: 100 } }, abort: { http_status: 555, percentage: { numerator: 100 } } }"#;
    let (seen, reached) = filtered(fault, get("/")).await;
    assert_eq!((seen.status, seen.body.as_str(), reached), (555, "fault filter abort", 0));
}

#[tokio::test]
async fn cross_origin_requests_follow_the_routes_policy() {
    let cors = r#"envoy.filters.http.cors: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy,
        allow_origin_string_match: [ { exact: "https://shop" } ], allow_methods: "GET,POST", allow_credentials: true }"#;
    let preflight = Request::options("/")
        .header("host", "a")
        .header("origin", "https://shop")
        .header("access-control-request-method", "POST");
    let (seen, reached) = filtered(cors, preflight.body(Full::default()).unwrap()).await;
    assert_eq!((seen.status, reached), (200, 0));
    assert_eq!(seen.header("access-control-allow-methods"), Some("GET,POST"));
    let plain =
        Request::get("/").header("host", "a").header("origin", "https://shop").body(Full::default()).unwrap();
    let (seen, reached) = filtered(cors, plain).await;
    assert_eq!((seen.header("access-control-allow-origin"), reached), (Some("https://shop"), 1));
    let stranger =
        Request::get("/").header("host", "a").header("origin", "https://evil").body(Full::default()).unwrap();
    assert_eq!(filtered(cors, stranger).await.0.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_is_si() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app, timeout: 0s, idle_timeout: 0.2s } }"#;
    let engine = start(&bootstrap_of(&[listener(route, "")], &[cluster("app", app, "")])).await;
    let web = engine.listener_address("web").unwrap();
    let seen = send(web, get("/")).await;
    assert_eq!((seen.status, seen.body.as_str()), (504, "stream timeout"));
    // The client's fault when it is the client that does not go on.
    let half = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
    let mut stream = tokio::net::TcpStream::connect(web).await.unwrap();
    stream.write_all(half).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn a_response_that_stops_in_the_middle_is_cut_off() {
    let app = raw_server(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let route = r#"{ match: { prefix: "/" }, route: { cluster: app, timeout: 0.3s } }"#;
    let engine = start(&bootstrap_of(&[listener(route, "")], &[cluster("app", app, "")])).await;
    let answer = talk(engine.listener_address("web").unwrap(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhalf"), "{answer}");
}

#[derive(Debug)]
struct Names;

#[async_trait::async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        match name {
            "app.mesh" => Ok(vec!["127.0.0.1".parse().unwrap()]),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

#[tokio::test]
async fn names_of_dns_clusters_are_resolved_before_the_engine_is_ready() {
    let app = Upstream::echo().await;
    let dns = |name: &str, host: &str| {
        cluster(name, app.address, "").replace("STATIC", "STRICT_DNS").replace("127.0.0.1", host)
    };
    let routes = r#"{ match: { prefix: "/gone" }, route: { cluster: gone } }, { match: { prefix: "/" }, route: { cluster: app } }"#;
    let yaml = bootstrap_of(&[listener(routes, "")], &[dns("app", "app.mesh"), dns("gone", "gone.mesh")]);
    let options = Options { concurrency: 1, lookup: Arc::new(Names), ..Options::default() };
    let engine = Engine::start(bootstrap::parse(&yaml).unwrap(), options).unwrap();
    engine.ready().await;
    let web = engine.listener_address("web").unwrap();
    assert_eq!(send(web, get("/")).await.status, 200);
    let seen = send(web, get("/gone")).await;
    assert_eq!((seen.status, seen.body.as_str()), (503, "no healthy upstream"));
}

#[test]
fn a_bootstrap_with_mistakes_names_them_all() {
    let yaml = bootstrap_of(
        &[listener(r#"{ match: {}, route: { cluster: a } }"#, "")],
        &["{ name: a, type: STATIC, connect_timeout: 0s }".to_owned()],
    );
    let error = Engine::start(bootstrap::parse(&yaml).unwrap(), Options::default()).unwrap_err().to_string();
    assert!(
        error.contains("clusters[0](a).connect_timeout") && error.contains("routes[0].match.path_specifier"),
        "{error}"
    );
}
