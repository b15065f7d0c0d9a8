use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::*;
use crate::http_client::Target;
use crate::net::Dial;

async fn serve(app: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

fn local(port: u16) -> Target {
    Target { host: "127.0.0.1".into(), port, tls: false, dial: Dial::default() }
}

fn status(probers: Option<&str>, proxy: u16, application: Option<u16>) -> Status {
    Status {
        readiness: Readiness::new(),
        proxy: None,
        started: Instant::now(),
        probers: Arc::new(Probers::new(probers, "127.0.0.1".into(), None).unwrap()),
        scrapes: Arc::new(Scrapes {
            metrics: AgentMetrics::new(),
            proxy: (local(proxy), "/stats/prometheus".into()),
            application: application.map(|port| (local(port), "/metrics".into())),
        }),
        quit: Shutdown::new(),
        drain: Arc::new(Notify::new()),
    }
}

async fn ask(status: &Status, method: &str, path: &str, peer: &str) -> (StatusCode, String) {
    let peer: SocketAddr = peer.parse().unwrap();
    let request =
        Request::builder().method(method).uri(path).extension(ConnectInfo(peer)).body(Body::empty()).unwrap();
    let response = router(status.clone()).oneshot(request).await.unwrap();
    let code = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

const PEER: &str = "127.0.0.1:1";

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let status = status(None, 1, None);
    let xds = status.readiness.condition("proxy");
    xds.not_ready("no listeners yet");
    let (code, body) = ask(&status, "GET", "/healthz/ready", PEER).await;
    assert_eq!((code, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "proxy: no listeners yet\n"));
    xds.ready();
    assert_eq!(ask(&status, "GET", "/healthz/ready", PEER).await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_of_three_sources_are_joined() {
    let proxy =
        serve(Router::new().route("/stats/prometheus", get(|| async { "istio_requests_total 7\n" }))).await;
    let app = serve(Router::new().route("/metrics", get(|| async { "app_up 1\n# EOF" }))).await;
    let (code, body) = ask(&status(None, proxy, Some(app)), "GET", "/stats/prometheus", PEER).await;
    assert_eq!(code, StatusCode::OK);
    for line in ["istio_requests_total 7", "app_up 1", "istio_agent_scrapes_total 1"] {
        assert!(body.lines().any(|got| got == line), "{line} not in\n{body}");
    }
    assert!(!body.contains("# EOF"));
}

#[tokio::test]
async fn a_source_that_is_away_is_counted_and_the_rest_is_there() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let app = serve(Router::new().route("/metrics", get(|| async { "app_up 1" }))).await;
    let status = status(None, closed, Some(app));
    ask(&status, "GET", "/stats/prometheus", PEER).await;
    let (code, body) = ask(&status, "GET", "/stats/prometheus", PEER).await;
    assert_eq!(code, StatusCode::OK);
    assert!(body.contains("app_up 1"));
    assert!(body.contains("istio_agent_scrape_failures_total{type=\"envoy\"} 1"), "{body}");
}

#[tokio::test]
async fn application_probes_are_passed_on() {
    let app = Router::new()
        .route(
            "/ok",
            get(|headers: axum::http::HeaderMap| async move {
                headers.get("x-probe").map_or("none".to_owned(), |value| value.to_str().unwrap().to_owned())
            }),
        )
        .route("/bad", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "starting") }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }));
    let port = serve(app).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let json = serde_json::json!({
        "/app-health/a/livez": {"httpGet": {"path": "ok", "port": port, "scheme": "HTTP",
            "httpHeaders": [{"name": "X-Probe", "value": "yes"}]}},
        "/app-health/a/readyz": {"httpGet": {"path": "/bad", "port": port}},
        "/app-health/a/startupz": {"httpGet": {"path": "/slow", "port": port}, "timeoutSeconds": 1},
        "/app-health/b/livez": {"tcpSocket": {"port": port}},
        "/app-health/b/readyz": {"tcpSocket": {"port": closed}},
        "/app-health/b/startupz": {"grpc": {"port": closed}},
    });
    let status = status(Some(&json.to_string()), 1, None);
    let table = [
        ("a/livez", StatusCode::OK, "yes"),
        ("a/readyz", StatusCode::SERVICE_UNAVAILABLE, "starting"),
        ("a/startupz", StatusCode::INTERNAL_SERVER_ERROR, "within 1s"),
        ("b/livez", StatusCode::OK, ""),
        ("b/readyz", StatusCode::INTERNAL_SERVER_ERROR, ""),
        ("b/startupz", StatusCode::INTERNAL_SERVER_ERROR, ""),
        ("c/livez", StatusCode::NOT_FOUND, "container c"),
    ];
    for (path, code, text) in table {
        let (got, body) = ask(&status, "GET", &format!("/app-health/{path}"), PEER).await;
        assert_eq!(got, code, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
}

#[tokio::test]
async fn only_the_pod_itself_may_end_it() {
    let status = status(None, 1, None);
    for path in ["/quitquitquit", "/drain"] {
        assert_eq!(ask(&status, "POST", path, "10.0.0.9:1").await.0, StatusCode::FORBIDDEN);
    }
    assert!(!status.quit.is_requested());
    assert_eq!(ask(&status, "GET", "/quitquitquit", PEER).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(&status, "POST", "/quitquitquit", "[::ffff:127.0.0.1]:1").await.0, StatusCode::OK);
    assert!(status.quit.is_requested());
}

#[test]
fn probers_are_checked() {
    for (json, expected) in
        [("{", "ISTIO_KUBE_APP_PROBERS"), (r#"{"/x": {"exec": {}}}"#, "/x: expected httpGet")]
    {
        let error = Probers::new(Some(json), String::new(), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
