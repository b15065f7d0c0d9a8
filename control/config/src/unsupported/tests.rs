use serde_json::json;

use super::*;
use crate::mesh_config::{MeshConfig, MeshNetworks};
use crate::shape::Shape;

fn found(kind: Kind, spec: Value) -> Vec<String> {
    let value = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": "x"}, "spec": spec});
    object(&crate::parse(&value).expect("valid")).iter().map(|found| found.path.to_string()).collect()
}

#[test]
fn names_what_is_set_and_nothing_else() {
    let tunnel = json!({"tunnel": {"targetHost": "a", "targetPort": 1}, "tls": {"mode": "SIMPLE"}});
    let spec = json!({"host": "a", "subsets": [{"name": "v1"}, {"name": "v2", "trafficPolicy": tunnel}]});
    assert_eq!(found(Kind::DestinationRule, spec), ["spec.subsets[1].trafficPolicy.tunnel"]);
    assert_eq!(found(Kind::AuthorizationPolicy, json!({})), [""]);
    let port =
        json!({"port": {"number": 80}, "connectionPool": {"http": {"http2KeepAlive": {"interval": "1s"}}}});
    let spec = json!({"host": "a", "trafficPolicy": {"portLevelSettings": [port]}});
    assert_eq!(
        found(Kind::DestinationRule, spec),
        ["spec.trafficPolicy.portLevelSettings[0].connectionPool.http.http2KeepAlive"]
    );
    assert!(found(Kind::PeerAuthentication, json!({"mtls": {"mode": "STRICT"}})).is_empty());
    assert_eq!(
        found(Kind::ServiceEntry, json!({"hosts": ["a"], "resolution": "DYNAMIC_DNS"})),
        ["spec.resolution"]
    );
    assert!(found(Kind::ServiceEntry, json!({"hosts": ["a"], "resolution": "DNS"})).is_empty());
    let warm = json!({"host": "a", "trafficPolicy": {"loadBalancer": {"warmup": {"duration": "1s"}}}});
    assert_eq!(found(Kind::DestinationRule, warm), ["spec.trafficPolicy.loadBalancer.warmup"]);
}

#[test]
fn names_settings_that_differ_from_the_default() {
    assert!(mesh(&MeshConfig::default()).is_empty());
    let config =
        MeshConfig::load("meshMTLS: {minProtocolVersion: TLSV1_3}\ndefaultConfig: {runtimeValues: {a: b}}")
            .expect("valid")
            .config;
    let paths: Vec<String> = mesh(&config).iter().map(|found| found.path.to_string()).collect();
    assert_eq!(paths, ["meshMTLS", "defaultConfig.runtimeValues"]);
}

#[test]
fn names_providers_and_modes_that_are_not_used() {
    let text = "
outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}
extensionProviders:
- {name: log, envoyFileAccessLog: {path: /dev/stdout}}
- {name: authz, envoyExtAuthzGrpc: {service: authz.default.svc.cluster.local, port: 9000}}
- {name: otel, opentelemetry: {service: otel.default.svc.cluster.local, port: 4317}}
";
    let config = MeshConfig::load(text).expect("valid").config;
    let found = mesh(&config);
    let paths: Vec<String> = found.iter().map(|found| found.path.to_string()).collect();
    assert_eq!(paths.len(), 3, "{found:?}");
    assert_eq!(paths[0], "outboundTrafficPolicy.mode");
    let of = |name: &str| found.iter().find(|found| found.message.contains(name)).map(|f| f.path.to_string());
    let position = |name: &str| config.extension_providers.iter().position(|p| p.name == name).expect(name);
    assert_eq!(of("\"authz\""), Some(format!("extensionProviders[{}]", position("authz"))));
    assert_eq!(of("\"otel\""), Some(format!("extensionProviders[{}]", position("otel"))));
}

#[test]
fn names_what_services_say_in_vain() {
    let found = |value: Value| -> Vec<String> {
        object(&crate::parse(&value).expect("valid")).iter().map(|found| found.path.to_string()).collect()
    };
    let service = |affinity: &str, annotation: &str| {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "x", "namespace": "default", "annotations": {annotation: "{}"}},
            "spec": {"sessionAffinity": affinity, "ports": [{"port": 80}]}})
    };
    assert!(found(service("None", "a/b")).is_empty());
    assert_eq!(found(service("ClientIP", "a/b")), ["spec.sessionAffinity"]);
    let selector = found(service("None", "traffic.istio.io/nodeSelector"));
    assert!(selector.len() == 1 && selector[0].contains("nodeSelector"), "{selector:?}");
    let slice = |kind: &str| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "x", "namespace": "default"}, "addressType": kind, "endpoints": []})
    };
    assert!(found(slice("IPv4")).is_empty());
    assert_eq!(found(slice("FQDN")), ["addressType"]);
}

/// A typo in the table would hide a field.
#[test]
fn every_row_names_a_field() {
    for kind in Kind::istio() {
        for field in fields(kind) {
            let steps: Vec<&str> = field.split('=').next().unwrap_or_default().split('.').collect();
            assert!(leads(Shape::of_kind(kind).expect("a spec"), &steps), "{kind} {field}");
        }
    }
    let shape = Shape::of::<MeshConfig>();
    for field in mesh::FIELDS {
        assert!(leads(&shape, &field.split('.').collect::<Vec<_>>()), "{field}");
    }
}

fn leads(shape: &Shape, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    match shape {
        Shape::Message(message) => message.fields.get(*step).is_some_and(|field| leads(&field.shape, rest)),
        Shape::List(inner) | Shape::Map(inner) => *step == "*" && leads(inner, rest),
        _ => false,
    }
}

#[test]
fn networks_are_named() {
    let text =
        "networks: {east: {endpoints: [{fromRegistry: one}], gateways: [{address: 192.0.2.1, port: 15443}]}}";
    let found = networks(&MeshNetworks::load(text).unwrap().config);
    assert_eq!(found.iter().map(|found| found.path.to_string()).collect::<Vec<_>>(), ["networks.east"]);
    assert!(networks(&MeshNetworks::default()).is_empty());
}
