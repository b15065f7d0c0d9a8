//! Who may do what: anonymous callers, service-account tokens, roles.

#![allow(clippy::unwrap_used)]

mod support;

use http::{Request, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Cluster, pod};

async fn get(cluster: &Cluster, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let (status, body) = support::send(&cluster.anonymous, request.body(Vec::new()).unwrap()).await;
    (StatusCode::from_u16(status).unwrap(), String::from_utf8(body.to_vec()).unwrap())
}

async fn token(cluster: &Cluster, spec: Value) -> String {
    let accounts: Api<ServiceAccount> = cluster.api();
    let request: TokenRequest = serde_json::from_value(json!({ "spec": spec })).unwrap();
    let made = accounts.create_token_request("default", &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token.unwrap_or_default()
}

#[tokio::test]
async fn anonymous_callers_see_only_health_and_version() {
    let cluster = Cluster::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(get(&cluster, path, None).await.0, StatusCode::OK, "{path}");
    }
    for path in ["/api", "/apis", "/openapi/v3", "/metrics"] {
        assert_eq!(get(&cluster, path, None).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    let (status, body) = get(&cluster, "/api/v1/namespaces/default/pods", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let expected = r#"pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""#;
    assert!(body.contains(expected), "{body}");
    assert_eq!(get(&cluster, "/api", Some("nonsense")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn service_accounts_may_do_what_their_roles_say() {
    let cluster = Cluster::start().await;
    let token = token(&cluster, json!({"audiences": []})).await;
    assert_eq!(get(&cluster, "/api", Some(&token)).await.0, StatusCode::OK, "everybody known may discover");
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(get(&cluster, pods, Some(&token)).await.0, StatusCode::FORBIDDEN);
    let roles: Api<Role> = cluster.api();
    let role = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]});
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<RoleBinding> = cluster.api();
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]});
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    assert_eq!(get(&cluster, pods, Some(&token)).await.0, StatusCode::OK);
    assert_eq!(get(&cluster, "/api/v1/pods", Some(&token)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(get(&cluster, &format!("{pods}?watch=1"), Some(&token)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn tokens_are_reviewed_by_audience_and_die_with_their_pod() {
    let cluster = Cluster::start().await;
    let pods: Api<Pod> = cluster.api();
    pods.create(&PostParams::default(), &pod("p", Some("node"))).await.unwrap();
    let bound = json!({"audiences": ["istio-ca"], "expirationSeconds": 3600, "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}});
    let token = token(&cluster, bound).await;
    assert_eq!(
        get(&cluster, "/api", Some(&token)).await.0,
        StatusCode::UNAUTHORIZED,
        "it is not for the API server"
    );
    let reviews: Api<TokenReview> = Api::all(cluster.client.clone());
    let review = async |audience: &str| {
        let review = json!({"metadata": {}, "spec": {"token": token, "audiences": [audience]}});
        reviews
            .create(&PostParams::default(), &serde_json::from_value(review).unwrap())
            .await
            .unwrap()
            .status
            .unwrap()
    };
    let accepted = review("istio-ca").await;
    assert_eq!(accepted.authenticated, Some(true));
    let user = accepted.user.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:default"));
    assert_eq!(user.extra.unwrap()["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(review("other").await.authenticated, None);
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    // Kubernetes remembers for ten seconds what it has found of a token.
    support::within(Duration::from_secs(20), async || review("istio-ca").await.authenticated.is_none()).await;
}

#[tokio::test]
async fn unknown_kinds_verbs_and_bodies_get_clear_errors() {
    let cluster = Cluster::start().await;
    let send = async |request: Request<Vec<u8>>| {
        let (status, body) = support::send(&cluster.client, request).await;
        let value: Value = serde_json::from_slice(&body).unwrap();
        (status, value["message"].as_str().unwrap_or_default().to_owned())
    };
    let empty =
        |method: &str, path: &str| Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
    assert_eq!(
        send(empty("GET", "/api/v1/nothings")).await,
        (404, "the server could not find the requested resource".into())
    );
    assert_eq!(send(empty("GET", "/apis/apps/v9/deployments")).await.0, 404);
    assert_eq!(send(empty("POST", "/api/v1/namespaces/default/pods/x")).await.0, 405);
    assert_eq!(send(empty("GET", "/api/v1/namespaces/default/pods/x/nothing")).await.0, 404);
    let large = Request::post("/api/v1/namespaces").body(vec![b' '; 4 * 1024 * 1024]).unwrap();
    assert_eq!(send(large).await, (413, "Request entity too large: limit is 3145728".into()));
    let patch = Request::patch("/api/v1/namespaces/default")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(b"{}".to_vec());
    assert_eq!(send(patch.unwrap()).await.0, 415);
    let strict = r#"{"metadata":{"name":"a"},"data":{},"datta":{},"data":{}}"#;
    let strict = Request::post("/api/v1/namespaces/default/configmaps?fieldValidation=Strict")
        .body(strict.as_bytes().to_vec());
    let expected = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"datta\", duplicate field \"data\"";
    assert_eq!(send(strict.unwrap()).await, (400, expected.into()));
}
