use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use std::net::SocketAddr;
use tower::ServiceExt;

use super::*;
use crate::options::Options;
use crate::tests::proxy::{Plain, TestProxy, node};
use crate::tests::{Mesh, service, soon};
use crate::token::{ServiceAccount, TokenError};

struct Accounts;

#[async_trait::async_trait]
impl ReviewTokens for Accounts {
    async fn review(&self, token: &str, audiences: &[&str]) -> Result<ServiceAccount, TokenError> {
        match token.split_once('/') {
            Some((namespace, name)) if audiences.is_empty() => {
                Ok(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(TokenError::Refused("no".to_owned())),
        }
    }
}

async fn debug() -> (Mesh, Router) {
    let mesh = Mesh::start(&service("reviews", "10.244.0.1")).await;
    soon(mesh.hub.first()).await.unwrap();
    let debug = Debug {
        hub: mesh.hub.clone(),
        objects: Objects::default(),
        settings: Settings::new(&Options::default()),
        cache: Arc::default(),
        readiness: Readiness::new(),
        metrics: Arc::default(),
        tokens: Arc::new(Accounts),
        namespace: "istio-system".into(),
        cluster_id: "Kubernetes".into(),
    };
    (mesh, debug.router())
}

async fn get(router: &Router, path: &str, from: &str, token: Option<&str>) -> (u16, String) {
    let remote: SocketAddr = from.parse().unwrap();
    let mut request = Request::get(path).extension(ConnectInfo(remote));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 22).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn pages_need_authority_but_health_does_not() {
    let (_mesh, router) = debug().await;
    let far = "10.1.2.3:4000";
    for path in ["/ready", "/version", "/metrics"] {
        assert_eq!(get(&router, path, far, None).await.0, 200, "{path}");
    }
    assert_eq!(get(&router, "/debug/syncz", far, None).await.0, 401);
    assert_eq!(get(&router, "/debug/syncz", far, Some("nonsense")).await.0, 401);
    assert_eq!(get(&router, "/debug/syncz", far, Some("default/reviews")).await.0, 403);
    assert_eq!(get(&router, "/debug/syncz", far, Some("istio-system/kiali")).await.0, 200);
    assert_eq!(get(&router, "/debug/syncz", "[::ffff:127.0.0.1]:1", None).await.0, 200);
}

#[tokio::test]
async fn every_listed_page_answers() {
    let (_mesh, router) = debug().await;
    for (page, _) in PAGES {
        let (status, body) = get(&router, &format!("/debug/{page}"), "127.0.0.1:1", None).await;
        let expected = if page == "config_dump" { 400 } else { 200 };
        assert_eq!(status, expected, "{page}: {body}");
    }
    let (_, services) = get(&router, "/debug/registryz", "127.0.0.1:1", None).await;
    assert!(services.contains("reviews.default.svc.cluster.local"), "{services}");
    let (_, endpoints) = get(&router, "/debug/endpointz", "127.0.0.1:1", None).await;
    assert!(
        endpoints.contains("reviews.default.svc.cluster.local:http") && endpoints.contains("10.244.0.1"),
        "{endpoints}"
    );
    assert_eq!(get(&router, "/debug/config_dump?proxyID=x.y", "127.0.0.1:1", None).await.0, 404);
}

#[tokio::test]
async fn the_dump_of_a_proxy_holds_what_it_asked_for() {
    let (mesh, router) = debug().await;
    let connect = Plain { address: mesh.plain, token: "default/reviews" };
    let mut proxy = TestProxy::start(node("default", "reviews", "reviews"), true, connect, None);
    proxy.started().await;
    let (status, dump) =
        get(&router, "/debug/config_dump?proxyID=reviews.default", "127.0.0.1:1", None).await;
    assert_eq!(status, 200);
    let dump: Value = serde_json::from_str(&dump).unwrap();
    let clusters = dump["configs"][0]["dynamic_active_clusters"].as_array().unwrap();
    let name = "outbound|9080||reviews.default.svc.cluster.local";
    assert!(clusters.iter().any(|entry| entry["cluster"]["name"] == name), "{clusters:?}");
    assert_eq!(dump["configs"][2]["dynamic_route_configs"][0]["route_config"]["name"], "9080");
    let (_, syncz) = get(&router, "/debug/syncz", "127.0.0.1:1", None).await;
    assert!(syncz.contains("\"proxy\":\"reviews.default\"") && syncz.contains("cluster_sent"), "{syncz}");
}
