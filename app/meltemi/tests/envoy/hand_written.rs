//! Bootstraps as people write them: what the upstream sees, what the client sees and what the admin interface shows are the
//! same as Envoy's.

use super::client::{self, Answer};
use super::proxy::{PLANES, Plane, Proxy, file};
use super::upstream::Upstream;

/// A file's bootstrap on ports that are free, with `more` in the place that it has for more.
fn bootstrap(name: &str, more: &str, upstreams: &[(&str, &Upstream)]) -> String {
    let (_, mut text) = file(name);
    for port in ["15000", "15001", "15002"] {
        text = text.replace(&format!("port_value: {port}"), "port_value: 0");
    }
    for (written, upstream) in upstreams {
        let (name, port) = written.split_once(':').unwrap();
        text = text.replace(&format!("address: {name}, port_value: {port} "), &{
            let host = if name == "127.0.0.1" { name } else { "localhost" };
            format!("address: {host}, port_value: {} ", upstream.address.port())
        });
    }
    text.replace("# MORE", more)
}

/// What differs from run to run is blotted out.
fn comparable(mut answer: Answer) -> Answer {
    const VARIES: [&str; 4] = ["date", "x-request-id", "x-envoy-upstream-service-time", "x-envoy-overloaded"];
    answer.headers.retain(|(name, _)| *name != "x-envoy-overloaded");
    for (name, value) in &mut answer.headers {
        if VARIES.contains(&name.as_str()) {
            *value = "*".to_owned();
        }
    }
    let lines = answer.body.lines().map(|line| match line.split_once(": ") {
        Some((name, _)) if VARIES.contains(&name) => format!("{name}: *"),
        Some(("host", host)) => format!("host: {}", host.split(':').next().unwrap_or_default()),
        _ => line.to_owned(),
    });
    answer.body = lines.collect::<Vec<_>>().join("\n");
    // Envoy tells more of a failed connection, or less, by when the system reported the failure.
    if let Some((known, _)) = answer.body.split_once(", transport failure reason:") {
        answer.body = known.to_owned();
    }
    // The body's length goes with the lengths of what was blotted out.
    answer.headers.retain(|(name, _)| name != "content-length");
    answer
}

type Sent<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Makes the requests through both proxies and compares the answers; gives ours.
fn same_answers(
    name: &str,
    more: &str,
    upstreams: &[(&str, &Upstream)],
    requests: &[Sent<'_>],
) -> Vec<Answer> {
    let all = PLANES.map(|plane| {
        let mut proxy = Proxy::start(plane, &bootstrap(name, more, upstreams));
        let web = proxy.eventually(|proxy| proxy.listener("web")).replace("0.0.0.0", "127.0.0.1");
        let ask = |(method, path, headers): &Sent<'_>| {
            let mut headers = headers.to_vec();
            if !headers.iter().any(|(name, _)| *name == "host") {
                headers.push(("host", "web.example.com"));
            }
            comparable(client::request(&web, method, path, &headers).unwrap())
        };
        requests.iter().map(ask).collect::<Vec<_>>()
    });
    let [envoys, ours] = all;
    for ((request, envoys), ours) in requests.iter().zip(&envoys).zip(&ours) {
        similar_asserts::assert_eq!(envoy: envoys, ours: ours, "{:?}", request);
    }
    ours
}

#[test]
fn a_simple_proxy_in_front_of_a_service() {
    let httpbin = Upstream::start("httpbin");
    let upstreams = [("httpbin:8000", &httpbin)];
    let answers = same_answers(
        "simple.yaml",
        "",
        &upstreams,
        &[
            ("GET", "/headers", &[]),
            ("GET", "/status/404", &[]),
            ("GET", "/status/503?a=b", &[("x-own", "1"), ("x-request-id", "mine")]),
            ("POST", "/post", &[("content-length", "0")]),
            ("GET", "/headers", &[("x-forwarded-for", "1.2.3.4"), ("x-envoy-expected-rq-timeout-ms", "1")]),
            ("GET", "/headers", &[("x-envoy-upstream-rq-timeout-ms", "700")]),
            ("GET", "//a/../b", &[("te", "gzip"), ("upgrade", "foo"), ("proxy-connection", "keep-alive")]),
            ("OPTIONS", "*", &[]),
        ],
    );
    let seen = &answers[0].body;
    assert!(
        seen.contains("x-envoy-expected-rq-timeout-ms: 15000") && seen.contains("x-request-id: "),
        "{seen}"
    );
    assert!(seen.contains("host: localhost"), "{seen}");
    assert_eq!(answers[0].header("server"), Some("envoy"));
}

#[test]
fn a_timeout_and_retries() {
    let httpbin = Upstream::start("httpbin");
    let upstreams = [("httpbin:8000", &httpbin)];
    for plane in PLANES {
        let start = |more: &str| {
            let mut proxy = Proxy::start(plane, &bootstrap("simple.yaml", more, &upstreams));
            let web = proxy.eventually(|proxy| proxy.listener("web")).replace("0.0.0.0", "127.0.0.1");
            (proxy, web)
        };
        let (proxy, web) = start("timeout: 1s");
        let late = client::request(&web, "GET", "/delay/3", &[]).unwrap();
        assert_eq!((late.status, late.body.as_str()), (504, "upstream request timeout"), "{plane:?}");
        assert_eq!(proxy.stat("cluster.httpbin_service.upstream_rq_timeout"), Some(1), "{plane:?}");
        let quick = client::request(&web, "GET", "/headers", &[]).unwrap();
        assert!(quick.body.contains("x-envoy-expected-rq-timeout-ms: 1000"), "{plane:?} {}", quick.body);

        let (proxy, web) = start("retry_policy: { retry_on: 5xx, num_retries: 3 }");
        let before = httpbin.requests();
        assert_eq!(client::request(&web, "GET", "/status/500", &[]).unwrap().status, 500);
        assert_eq!(httpbin.requests() - before, 4, "{plane:?}");
        for (name, value) in [
            ("upstream_rq_retry", 3),
            ("upstream_rq_retry_limit_exceeded", 1),
            ("upstream_rq_retry_success", 0),
            ("upstream_rq_500", 1),
            ("retry.upstream_rq_500", 3),
        ] {
            let name = format!("cluster.httpbin_service.{name}");
            assert_eq!(proxy.stat(&name), Some(value), "{plane:?} {name}");
        }
        assert_eq!(client::request(&web, "GET", "/status/404", &[]).unwrap().status, 404);
        assert_eq!(proxy.stat("http.ingress_http.downstream_rq_5xx"), Some(1), "{plane:?}");
    }
}

#[test]
fn rules_of_many_kinds() {
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let upstreams = [("one:8001", &one), ("127.0.0.1:8002", &two)];
    let pets = ("host", "pets.example.com");
    let answers = same_answers(
        "rules.yaml",
        "",
        &upstreams,
        &[
            ("GET", "/old/cat", &[pets, ("x-beta", "1")]),
            ("GET", "/old/cat", &[pets]),
            ("GET", "/moved", &[pets]),
            ("GET", "/v1/dogs?x=1", &[("host", "a.pets.example.com")]),
            ("HEAD", "/anything", &[pets]),
            ("GET", "/health/1", &[]),
            ("GET", "/nowhere", &[]),
            ("GET", "/closed", &[]),
            ("GET", "/empty", &[]),
            ("GET", "/none", &[]),
        ],
    );
    let codes: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(codes, [200, 200, 302, 200, 200, 200, 503, 503, 503, 404]);
    assert!(answers[0].body.starts_with("two\nGET /new/cat"), "{}", answers[0].body);
}

#[test]
fn bytes_pass_and_what_is_no_http_is_refused() {
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let upstreams = [("one:8001", &one), ("127.0.0.1:8002", &two)];
    let said = PLANES.map(|plane| {
        let mut proxy = Proxy::start(plane, &bootstrap("rules.yaml", "", &upstreams));
        let web = proxy.eventually(|proxy| proxy.listener("web"));
        let bytes = proxy.eventually(|proxy| proxy.listener("bytes"));
        let mut stream = std::net::TcpStream::connect(bytes).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /raw HTTP/1.1\r\nA: b\r\n\r\n").unwrap();
        let mut raw = [0; 15];
        std::io::Read::read_exact(&mut stream, &mut raw).unwrap();
        assert_eq!(&raw, b"HTTP/1.1 200 X\r", "{plane:?}");
        [
            "nonsense\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nbad header: x\r\n\r\n",
        ]
        .map(|text| {
            let answer = client::talk(&web, text).unwrap();
            let line = answer.lines().next().unwrap_or_default();
            line.split_once(' ').map(|(_, status)| status.to_owned())
        })
    });
    let [envoys, ours] = said;
    similar_asserts::assert_eq!(envoy: envoys, ours: ours);
}

#[test]
fn the_admin_interface_shows_the_same_things() {
    let httpbin = Upstream::start("httpbin");
    let upstreams = [("httpbin:8000", &httpbin)];
    for plane in PLANES {
        let mut proxy = Proxy::start(plane, &bootstrap("simple.yaml", "", &upstreams));
        let web = proxy.eventually(|proxy| proxy.listener("web")).replace("0.0.0.0", "127.0.0.1");
        for _ in 0..3 {
            client::request(&web, "GET", "/headers", &[]).unwrap();
        }
        admin_pages(plane, &proxy, httpbin.address.port());
    }
}

fn admin_pages(plane: Plane, proxy: &Proxy, port: u16) {
    let shows = |path: &str, texts: &[&str]| {
        let answer = proxy.admin(path);
        assert_eq!(answer.status, 200, "{plane:?} {path}");
        // How JSON is laid out is nobody's business.
        let tight = answer.body.replace([' ', '\n'], "");
        for text in texts {
            assert!(
                answer.body.contains(text) || tight.contains(text),
                "{plane:?} {path}: no {text:?} in\n{}",
                answer.body
            );
        }
    };
    shows("/ready", &["LIVE"]);
    shows("/server_info", &["\"state\": \"LIVE\"", "\"concurrency\": 1", "\"log_level\": \"info\""]);
    let host = format!("httpbin_service::127.0.0.1:{port}::rq_total::3");
    shows(
        "/clusters",
        &[&host, "httpbin_service::127.0.0.1", "::health_flags::healthy", "::hostname::localhost"],
    );
    shows("/listeners", &["web::0.0.0.0:"]);
    shows(
        "/config_dump",
        &[
            "BootstrapConfigDump",
            "ClustersConfigDump",
            "ListenersConfigDump",
            "RoutesConfigDump",
            "all_to_httpbin",
        ],
    );
    shows("/config_dump?resource=static_clusters", &["httpbin_service"]);
    shows("/certs", &["certificates"]);
    shows("/stats?filter=downstream_rq_2xx", &["http.ingress_http.downstream_rq_2xx: 3"]);
    shows("/stats?usedonly&format=json", &["\"name\":\"cluster.httpbin_service.upstream_rq_200\""]);
    shows(
        "/stats/prometheus",
        &[
            "# TYPE envoy_cluster_upstream_rq_total counter",
            "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httpbin_service\"} 3",
            "# TYPE envoy_http_downstream_rq_xx counter",
        ],
    );
    shows("/memory", &["allocated"]);
    shows("/runtime", &["layers"]);
    shows("/hot_restart_version", &[]);
    shows("/help", &["/config_dump"]);
    for (name, value) in [
        ("cluster.httpbin_service.upstream_rq_200", 3),
        ("cluster.httpbin_service.membership_total", 1),
        ("cluster.httpbin_service.upstream_cx_total", 1),
        ("http.ingress_http.downstream_rq_total", 3),
        ("listener.0.0.0.0_0.downstream_cx_total", 3),
        ("server.live", 1),
        ("listener_manager.total_listeners_active", 1),
        ("cluster_manager.active_clusters", 1),
    ] {
        assert_eq!(proxy.stat(name), Some(value), "{plane:?} {name}");
    }
    assert_eq!(proxy.post("/logging?level=debug").status, 200, "{plane:?}");
    shows("/server_info", &["\"state\": \"LIVE\""]);
    assert_eq!(proxy.post("/reset_counters").body.trim(), "OK", "{plane:?}");
    assert_eq!(proxy.stat("cluster.httpbin_service.upstream_rq_total"), Some(0), "{plane:?}");
    assert_eq!(proxy.post("/healthcheck/fail").status, 200, "{plane:?}");
    assert_eq!(proxy.admin("/ready").status, 503, "{plane:?}");
    assert_eq!(proxy.post("/healthcheck/ok").status, 200, "{plane:?}");
    assert_eq!(proxy.admin("/nothing").status, 404, "{plane:?}");
}
