//! Custom resources and admission webhooks.

#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::{Cluster, config_map, within};

/// How long Kubernetes may take to notice what was changed.
const MOMENT: Duration = Duration::from_secs(20);

fn definition() -> CustomResourceDefinition {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"],
            "x-kubernetes-validations": [
                {"rule": "self.size <= self.max", "message": "size must not exceed max"},
                {"rule": "!has(oldSelf.kind) || self.kind == oldSelf.kind", "message": "kind is fixed"}],
            "properties": {
                "size": {"type": "integer", "minimum": 1}, "max": {"type": "integer", "default": 10},
                "kind": {"type": "string", "enum": ["a", "b"]}, "port": {"x-kubernetes-int-or-string": true},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "status": {"type": "object", "properties": {"seen": {"type": "integer"}}}}}});
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema, "subresources": {"status": {}}});
    serde_json::from_value(json!({"metadata": {"name": "things.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [version("v1", true), version("v1beta1", false)]}}))
    .unwrap()
}

fn things(client: &Client, version: &str) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", version, "Thing"), "things");
    Api::default_namespaced_with(client.clone(), &resource)
}

fn thing(version: &str, name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({"apiVersion": format!("example.com/{version}"), "kind": "Thing",
        "metadata": {"name": name}, "spec": spec}))
    .unwrap()
}

/// Waits until the new kind is served; here it is at once.
async fn established(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let api = things(client, "v1");
    within(MOMENT, async || {
        let crd = crds.get("things.example.com").await.unwrap();
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Established" && c.status == "True")
            && api.list(&ListParams::default()).await.is_ok()
    })
    .await;
}

fn message<T: std::fmt::Debug>(result: kube::Result<T>) -> String {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("not an API error: {other}"),
    }
}

#[tokio::test]
async fn custom_resources_are_served_at_once_defaulted_pruned_and_validated() {
    let cluster = Cluster::start().await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let made = crds.create(&PostParams::default(), &definition()).await.unwrap();
    let is_established = |crd: CustomResourceDefinition| {
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Established" && c.status == "True")
    };
    if !support::is_kubernetes() {
        assert!(is_established(made));
    }
    established(&cluster.client).await;
    let api = things(&cluster.client, "v1");
    let create = async |spec: Value| api.create(&PostParams::default(), &thing("v1", "t", spec)).await;
    let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the \
                     existing errors to complete validation";
    for (spec, expected, hinders_rules) in [
        (json!({}), "spec.size: Required value", true),
        (
            json!({"size": 0}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
            false,
        ),
        (
            json!({"size": "x"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
            true,
        ),
        (
            json!({"size": 1, "kind": "c"}),
            "spec.kind: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            true,
        ),
        (json!({"size": 11}), "spec: Invalid value: \"object\": size must not exceed max", false),
    ] {
        let expected = if hinders_rules { format!("[{expected}, {unchecked}]") } else { expected.to_owned() };
        assert_eq!(message(create(spec).await), format!("Thing.example.com \"t\" is invalid: {expected}"));
    }
    let made = create(json!({"size": 3, "kind": "a", "unknown": 1, "port": "http", "open": {"x": 1}}))
        .await
        .unwrap();
    assert_eq!(
        made.data["spec"],
        json!({"size": 3, "kind": "a", "port": "http", "open": {"x": 1}, "max": 10})
    );
    let other = things(&cluster.client, "v1beta1").get("t").await.unwrap();
    assert_eq!(other.types.unwrap().api_version, "example.com/v1beta1");
    let change = Patch::Merge(json!({"spec": {"kind": "b"}}));
    assert!(message(api.patch("t", &PatchParams::default(), &change).await).contains("kind is fixed"));
    let status = Patch::Merge(json!({"spec": {"size": 9}, "status": {"seen": 1}}));
    let after = api.patch_status("t", &PatchParams::default(), &status).await.unwrap();
    assert_eq!((&after.data["spec"]["size"], &after.data["status"]), (&json!(3), &json!({"seen": 1})));
    assert_eq!(after.metadata.generation, Some(1));
    crds.delete("things.example.com", &DeleteParams::default()).await.unwrap();
    while crds.get_opt("things.example.com").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(matches!(api.get("t").await, Err(kube::Error::Api(s)) if s.code == 404));
}

#[tokio::test]
async fn rules_have_reasons_and_must_parse() {
    let cluster = Cluster::start().await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let mut value = serde_json::to_value(definition()).unwrap();
    let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    *value.pointer_mut(rules).unwrap() = json!([{"rule": "self.size <="}]);
    let refused =
        message(crds.create(&PostParams::default(), &serde_json::from_value(value.clone()).unwrap()).await);
    let field = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule";
    assert!(
        refused.contains(&format!("{field}: Invalid value: ")) && refused.contains(": compilation failed:"),
        "{refused}"
    );
    *value.pointer_mut(rules).unwrap() = json!([{"rule": "self.size <= self.max", "reason": "FieldValueForbidden",
        "fieldPath": ".size", "messageExpression": "self.max == 10 ? 'not above 10' : 'less'"}]);
    crds.create(&PostParams::default(), &serde_json::from_value(value).unwrap()).await.unwrap();
    established(&cluster.client).await;
    let api = things(&cluster.client, "v1");
    let refused = message(api.create(&PostParams::default(), &thing("v1", "t", json!({"size": 11}))).await);
    assert_eq!(refused, "Thing.example.com \"t\" is invalid: spec.size: Forbidden: not above 10");
}

/// A webhook server that answers each review as `decide` says; its URL and CA bundle.
async fn webhook(decide: fn(&Value) -> Value) -> (String, String) {
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let review: Value = serde_json::from_slice(&body).unwrap();
                        let mut response = decide(&review["request"]);
                        response["uid"] = review["request"]["uid"].clone();
                        let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(answer.to_string()))))
                    },
                );
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (url, B64.encode(issued.cert.pem()))
}

fn hook(url: &str, ca: &str, more: Value) -> Value {
    let mut hook = json!({"name": "hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": url, "caBundle": ca}, "objectSelector": {"matchLabels": {"hooked": "yes"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    for (key, value) in more.as_object().unwrap() {
        hook[key] = value.clone();
    }
    hook
}

fn hooked(name: &str) -> k8s_openapi::api::core::v1::ConfigMap {
    let mut map = config_map(name, "1");
    map.metadata.labels = Some([("hooked".to_owned(), "yes".to_owned())].into());
    map
}

#[tokio::test]
async fn mutating_webhooks_patch_what_they_select() {
    let cluster = Cluster::start().await;
    let (url, ca) = webhook(|request| {
        assert_eq!(request["operation"], "CREATE");
        let patch = json!([{"op": "add", "path": "/data/added", "value": "by-hook"}]).to_string();
        json!({"allowed": true, "patchType": "JSONPatch", "patch": B64.encode(patch), "warnings": ["beware"]})
    })
    .await;
    let conditions =
        json!({"matchConditions": [{"name": "no-skip", "expression": "object.metadata.name != 'skipped'"}]});
    let hooks: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [hook(&url, &ca, conditions)]});
    hooks.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    let api = cluster.api();
    let made = api.create(&PostParams::default(), &hooked("a")).await.unwrap();
    assert_eq!(made.data.unwrap()["added"], "by-hook");
    for plain in [config_map("plain", "1"), hooked("skipped")] {
        let made = api.create(&PostParams::default(), &plain).await.unwrap();
        assert!(!made.data.as_ref().unwrap().contains_key("added"), "{}", made.name_any());
    }
}

#[tokio::test]
async fn validating_webhooks_refuse_and_failures_follow_the_policy() {
    let cluster = Cluster::start().await;
    let (url, ca) = webhook(|_| json!({"allowed": false, "status": {"message": "not today"}})).await;
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let put = async |hook: Value| {
        let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "v"}, "webhooks": [hook]});
        hooks.patch("v", &PatchParams::apply("test").force(), &Patch::Apply(configuration)).await.unwrap();
    };
    let api = cluster.api();
    put(hook(&url, &ca, json!({}))).await;
    // A change of webhooks takes effect at once here, and a moment later on Kubernetes.
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let create = async |name: &str| api.create(&dry, &hooked(name)).await;
    let answers = async |expected: &str| match create("a").await {
        Err(kube::Error::Api(status)) => status.message == expected,
        _ => false,
    };
    let refused = "admission webhook \"hook.example.com\" denied the request: not today";
    within(MOMENT, async || answers(refused).await).await;
    let closed = "https://127.0.0.1:1/hook";
    put(hook(closed, &ca, json!({}))).await;
    let expected = "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://127.0.0.1:1/hook?timeout=10s\": dial tcp 127.0.0.1:1: connect: connection refused";
    within(MOMENT, async || answers(expected).await).await;
    put(hook(closed, &ca, json!({"failurePolicy": "Ignore"}))).await;
    within(MOMENT, async || create("a").await.is_ok()).await;
    let service =
        json!({"service": {"name": "istiod", "namespace": "default", "path": "/validate"}, "caBundle": ca});
    put(hook("", &ca, json!({"clientConfig": service}))).await;
    let expected = "https://istiod.default.svc:443/validate?timeout=10s\": service \"istiod\" not found";
    within(MOMENT, async || create("b").await.is_err_and(|error| error.to_string().contains(expected))).await;
}

#[tokio::test]
async fn mutating_webhooks_may_refuse_a_deletion_and_not_change_it() {
    let cluster = Cluster::start().await;
    let (url, ca) = webhook(|request| {
        assert!(request["object"].is_null() && request["operation"] == "DELETE");
        match request["name"].as_str().unwrap() {
            "kept" => json!({"allowed": false, "status": {"message": "it is needed"}}),
            "patched" => {
                let patch = json!([{"op": "add", "path": "/data", "value": {}}]).to_string();
                json!({"allowed": true, "patchType": "JSONPatch", "patch": B64.encode(patch)})
            }
            _ => json!({"allowed": true}),
        }
    })
    .await;
    let on_delete = json!({"rules": [{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    let hooks: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [hook(&url, &ca, on_delete)]});
    hooks.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    let api = cluster.api();
    for name in ["kept", "patched", "free"] {
        api.create(&PostParams::default(), &hooked(name)).await.unwrap();
    }
    let refused = async |name: &str| message(api.delete(name, &DeleteParams::default()).await);
    assert_eq!(
        refused("kept").await,
        "admission webhook \"hook.example.com\" denied the request: it is needed"
    );
    assert!(refused("patched").await.contains("attempted to modify the object"));
    api.delete("free", &DeleteParams::default()).await.unwrap();
}
