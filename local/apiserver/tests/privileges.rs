//! What nobody may do by a detour: grant more than one has, be somebody else, make by changing.

#![allow(clippy::unwrap_used)]

mod support;

use http::{Request, header};
use serde_json::{Value, json};
use support::Cluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A request of the administrator as somebody else.
struct As<'a> {
    cluster: &'a Cluster,
    headers: &'a [(&'static str, &'static str)],
}

impl As<'_> {
    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let kind = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, body) = support::send(&self.cluster.client, request.body(body).unwrap()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "name": user}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
}

/// Lets a user do what the rules say, everywhere.
async fn allow(cluster: &Cluster, user: &str, rules: Value) {
    let admin = As { cluster, headers: &[] };
    let (name, bound) = (format!("for-{user}"), format!("of-{user}"));
    assert_eq!(admin.send("POST", &format!("{RBAC}/clusterroles"), role(&name, rules)).await.0, 201);
    let binding = binding(&bound, &name, user);
    assert_eq!(admin.send("POST", &format!("{RBAC}/clusterrolebindings"), binding).await.0, 201);
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let cluster = Cluster::start().await;
    let rbac = json!({"verbs": ["create", "update", "patch", "get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"]});
    let read = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
    allow(&cluster, "alice", json!([rbac, read])).await;
    let alice = As { cluster: &cluster, headers: &[("impersonate-user", "alice")] };
    let roles = format!("{RBAC}/namespaces/default/roles");
    assert_eq!(alice.send("POST", &roles, role("own", json!([read]))).await.0, 201);
    let secrets = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]);
    let (status, refused) = alice.send("POST", &roles, role("more", secrets.clone())).await;
    let text = refused["message"].as_str().unwrap();
    assert_eq!(status, 403, "{text}");
    assert!(
        text.starts_with("roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"alice\""),
        "{text}"
    );
    assert!(text.contains("attempting to grant RBAC permissions not currently held:\n{"), "{text}");
    let own = format!("{roles}/own");
    assert_eq!(alice.send("PUT", &own, role("own", secrets)).await.0, 403, "nor by an update");
    let mut labelled = role("own", json!([read]));
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(alice.send("PUT", &own, labelled).await.0, 200, "the rules are as they were");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(alice.send("POST", &bindings, binding("b", "cluster-admin", "alice")).await.0, 403);
    assert_eq!(alice.send("POST", &bindings, binding("b", "none", "alice")).await.0, 404);
    assert_eq!(alice.send("POST", &bindings, binding("b", "for-alice", "bob")).await.0, 201);
}

#[tokio::test]
async fn escalate_and_bind_are_verbs() {
    let cluster = Cluster::start().await;
    let group = ["rbac.authorization.k8s.io"];
    allow(
        &cluster,
        "carol",
        json!([
            {"verbs": ["create", "escalate"], "apiGroups": group, "resources": ["roles"]},
            {"verbs": ["create"], "apiGroups": group, "resources": ["rolebindings"]},
            {"verbs": ["bind"], "apiGroups": group, "resources": ["clusterroles"], "resourceNames": ["view"]},
        ]),
    )
    .await;
    let carol = As { cluster: &cluster, headers: &[("impersonate-user", "carol")] };
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let roles = format!("{RBAC}/namespaces/default/roles");
    assert_eq!(carol.send("POST", &roles, role("all", everything)).await.0, 201);
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(carol.send("POST", &bindings, binding("v", "view", "dave")).await.0, 201);
    assert_eq!(carol.send("POST", &bindings, binding("e", "edit", "dave")).await.0, 403);
    let admin = As { cluster: &cluster, headers: &[] };
    let (_, own) = admin.send("GET", &format!("{RBAC}/clusterroles/admin"), Value::Null).await;
    assert!(!own["rules"].to_string().contains("\"*\""), "the admin of a namespace does not escalate: {own}");
}

#[tokio::test]
async fn every_part_of_an_impersonation_is_asked_for() {
    let cluster = Cluster::start().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = async |headers: &[(&'static str, &'static str)]| {
        let (status, review) = As { cluster: &cluster, headers }.send("POST", path, json!({})).await;
        (status, review["status"]["userInfo"].clone())
    };
    let all = [
        ("impersonate-user", "erin"),
        ("impersonate-group", "team"),
        ("impersonate-uid", "u-1"),
        ("impersonate-extra-example.com%2Fscope", "one"),
        ("impersonate-extra-example.com%2Fscope", "two"),
    ];
    let expected = json!({"username": "erin", "uid": "u-1", "groups": ["team", "system:authenticated"],
        "extra": {"example.com/scope": ["one", "two"]}});
    assert_eq!(who(&all).await, (201, expected));
    let without = if support::is_kubernetes() { 500 } else { 400 };
    assert_eq!(who(&all[1..]).await.0, without, "groups need a user");
    // The default account may be erin, and nothing else.
    allow(
        &cluster,
        "system:serviceaccount:default:default",
        json!([
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["erin"]},
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
        ]),
    )
    .await;
    let token = json!({"spec": {}});
    let admin = As { cluster: &cluster, headers: &[] };
    let (_, issued) =
        admin.send("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", token).await;
    let bearer = format!("Bearer {}", issued["status"]["token"].as_str().unwrap());
    let with_token = async |headers: &[(&str, &str)]| {
        let mut request = Request::post(path).header(header::AUTHORIZATION, &bearer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        support::send(&cluster.anonymous, request.body(b"{}".to_vec()).unwrap()).await.0
    };
    assert_eq!(with_token(&all[..1]).await, 201);
    for part in &all[1..4] {
        assert_eq!(with_token(&[all[0], *part]).await, 403, "{part:?}");
    }
    assert_eq!(with_token(&[("impersonate-user", "system:serviceaccount:kube-system:default")]).await, 403);
}

#[tokio::test]
async fn who_may_only_change_makes_nothing() {
    let cluster = Cluster::start().await;
    allow(&cluster, "gina", json!([{"verbs": ["patch", "update"], "apiGroups": ["", "coordination.k8s.io"], "resources": ["configmaps", "leases"]}]))
        .await;
    let gina = As { cluster: &cluster, headers: &[("impersonate-user", "gina")] };
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let path = "/api/v1/namespaces/default/configmaps/m?fieldManager=test";
    let (status, refused) = gina.send("PATCH", path, map.clone()).await;
    let text = refused["message"].as_str().unwrap();
    assert_eq!((status, text.contains("cannot create resource \"configmaps\"")), (403, true), "{text}");
    let lease = json!({"metadata": {"name": "l"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    assert_eq!(gina.send("PUT", leases, lease).await.0, 403);
    let admin = As { cluster: &cluster, headers: &[] };
    assert_eq!(admin.send("PATCH", path, map.clone()).await.0, 201);
    assert_eq!(gina.send("PATCH", path, map).await.0, 200);
}

#[tokio::test]
async fn a_list_of_one_name_is_authorized_by_it() {
    let cluster = Cluster::start().await;
    allow(&cluster, "hal", json!([{"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]}]))
        .await;
    let hal = As { cluster: &cluster, headers: &[("impersonate-user", "hal")] };
    let maps = "/api/v1/namespaces/default/configmaps";
    let status = async |query: &str| hal.send("GET", &format!("{maps}{query}"), Value::Null).await.0;
    assert_eq!(status("?fieldSelector=metadata.name%3Dmine").await, 200);
    assert_eq!(status("?fieldSelector=metadata.name%3Dyours").await, 403);
    assert_eq!(status("?fieldSelector=metadata.name!%3Dmine").await, 403);
    assert_eq!(status("").await, 403);
}
