use axum::body::Body;
use axum::http::Request as HttpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::options::Options;

fn webhooks() -> Webhooks {
    let settings = Settings::new(&Options::default());
    settings.use_defaults();
    Webhooks { settings, metrics: Arc::default() }
}

async fn post(webhooks: &Webhooks, path: &str, body: String) -> (u16, Value) {
    let request = HttpRequest::post(path).body(Body::from(body)).unwrap();
    let response = webhooks.clone().router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn review(operation: &str, object: Value) -> String {
    let request = json!({"uid": "u1", "operation": operation, "namespace": "shop", "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

#[tokio::test]
async fn a_pod_comes_back_with_a_patch_that_adds_the_proxy() {
    let webhooks = webhooks();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "app", "image": "x"}]}});
    let (status, answer) = post(&webhooks, "/inject/cluster/c1/net/n1", review("CREATE", pod.clone())).await;
    assert_eq!(
        (status, &answer["response"]["uid"], &answer["response"]["allowed"]),
        (200, &json!("u1"), &json!(true))
    );
    let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    let text = pod["spec"]["initContainers"][1].to_string();
    for part in ["\"istio-proxy\"", "\"c1\"", "\"n1\"", "namespaces/shop/pods/p"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert_eq!(webhooks.metrics.injections_done.get(), 1);
}

#[tokio::test]
async fn a_pod_that_opts_out_is_allowed_unchanged_and_a_bad_annotation_refused() {
    let webhooks = webhooks();
    let pod = |metadata: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [{"name": "app", "image": "x"}]}})
    };
    let out = pod(json!({"name": "p", "labels": {"sidecar.istio.io/inject": "false"}}));
    let (_, answer) = post(&webhooks, "/inject", review("CREATE", out)).await;
    assert_eq!((&answer["response"]["allowed"], &answer["response"]["patch"]), (&json!(true), &Value::Null));
    let bad = pod(json!({"name": "p", "annotations": {"status.sidecar.istio.io/port": "many"}}));
    let (_, answer) = post(&webhooks, "/inject", review("CREATE", bad)).await;
    assert_eq!(answer["response"]["allowed"], json!(false));
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("status.sidecar.istio.io/port"), "{message}");
}

#[tokio::test]
async fn unknown_fields_are_refused_with_their_path() {
    let webhooks = webhooks();
    let service = |spec: Value| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "v", "namespace": "shop"}, "spec": spec})
    };
    let good =
        service(json!({"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}));
    let (_, answer) = post(&webhooks, "/validate", review("CREATE", good)).await;
    assert_eq!(answer["response"]["allowed"], json!(true), "{answer}");
    let bad = service(json!({"hosts": ["reviews"], "http": [{"rout": []}]}));
    let (_, answer) = post(&webhooks, "/validate", review("UPDATE", bad.clone())).await;
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("spec.http[0].rout"), "{message}");
    // It may be deleted all the same.
    let (_, answer) = post(&webhooks, "/validate", review("DELETE", bad)).await;
    assert_eq!(answer["response"]["allowed"], json!(true));
}

#[tokio::test]
async fn what_is_no_review_is_a_bad_request() {
    let webhooks = webhooks();
    for body in ["", "{}", r#"{"apiVersion": "admission.k8s.io/v1", "request": {}}"#] {
        assert_eq!(post(&webhooks, "/inject", body.to_owned()).await.0, 400, "{body}");
        assert_eq!(post(&webhooks, "/validate", body.to_owned()).await.0, 400, "{body}");
    }
    assert_eq!(webhooks.metrics.validation_http_errors.get(), 3);
}

#[tokio::test]
async fn without_sound_settings_pods_are_refused_rather_than_guessed() {
    let webhooks = webhooks();
    let fresh = Webhooks { settings: Settings::new(&Options::default()), ..webhooks };
    let mut map = k8s_openapi::api::core::v1::ConfigMap::default();
    map.metadata.name = Some("istio-sidecar-injector".to_owned());
    map.data = Some([("config".to_owned(), "polizy: enabled".to_owned())].into());
    fresh.settings.take(&map);
    let pod = json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}});
    let (_, answer) = post(&fresh, "/inject", review("CREATE", pod)).await;
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("polizy"), "{message}");
    // Once good, a later slip changes nothing.
    map.data = Some([("config".to_owned(), "policy: disabled".to_owned())].into());
    fresh.settings.take(&map);
    map.data = Some([("config".to_owned(), "polizy: enabled".to_owned())].into());
    fresh.settings.take(&map);
    assert_eq!(fresh.settings.injector().unwrap().config.policy, meltemi_inject::Policy::Disabled);
}

#[tokio::test]
async fn who_writes_a_policy_that_is_not_enforced_is_told() {
    let policy = json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "deny", "namespace": "shop"}, "spec": {}});
    let (_, answer) = post(&webhooks(), "/validate", review("CREATE", policy)).await;
    assert_eq!(answer["response"]["allowed"], json!(true));
    assert!(answer["response"]["warnings"].to_string().contains("not enforced"), "{answer}");
}
