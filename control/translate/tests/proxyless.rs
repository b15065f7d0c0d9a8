//! What gRPC programs without a proxy get, by the names that they ask for. `meltemi-istiod` puts the same before gRPC itself.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod mesh;

use std::sync::Arc;

use meltemi_mesh::{ProxyKind, ProxyView, Snapshot};
use meltemi_proto::{any, json, type_url};
use meltemi_translate::{Names, resources};
use serde_json::Value;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: echo}, ports: [{name: grpc, port: 7070, targetPort: 50051}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: default}
spec: {clusterIP: None, selector: {app: echo}, ports: [{name: grpc, port: 7070}, {name: tcp, port: 7071}]}
---
apiVersion: v1
kind: Pod
metadata: {name: echo-1, namespace: default, labels: {app: echo}}
spec: {serviceAccountName: echo, containers: [{name: app, image: echo}]}
status: {phase: Running, podIP: 10.244.0.1, podIPs: [{ip: 10.244.0.1}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: default}
spec: {hosts: [far.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: grpc, protocol: GRPC}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: spread, namespace: default}
spec:
  hosts: [spread.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 443, name: grpc, protocol: GRPC}]
  endpoints: [{address: a.example.com}, {address: b.example.com}]
"#;

struct Program {
    snapshot: Arc<Snapshot>,
    view: ProxyView,
}

impl Program {
    fn new(more: &str) -> Self {
        Self::with(more, &[])
    }

    fn with(more: &str, extensions: &[&str]) -> Self {
        let snapshot = mesh::world(&format!("{OBJECTS}\n---\n{more}")).snapshot();
        let mut identity = mesh::identity(&snapshot, ProxyKind::Sidecar, "default", "echo-1");
        identity.metadata.extra.insert("GENERATOR".to_owned(), "grpc".into());
        identity.extensions = extensions.iter().map(ToString::to_string).collect();
        let view = ProxyView::of(&snapshot, &identity);
        Self { snapshot, view }
    }

    /// The one resource of a name, if there is one.
    fn get(&self, type_url: &str, name: &str) -> Option<Value> {
        let names = [name.to_owned()].into();
        let found = resources(type_url, &self.snapshot, &self.view, &Names::Only(&names));
        let style = json::Style { proto_names: true };
        let all = found.into_values();
        let mut all = all.map(|r| json::bytes_to_json(any::message_name(type_url), &r.body, style).unwrap());
        let first = all.next();
        assert!(all.next().is_none());
        first
    }

    fn route_name(&self, target: &str) -> Option<String> {
        let listener = self.get(type_url::LISTENER, target)?;
        assert_eq!(listener["name"], target);
        let manager = &listener["api_listener"]["api_listener"];
        Some(manager["rds"]["route_config_name"].as_str().unwrap().to_owned())
    }

    fn cluster(&self) -> Option<Value> {
        self.get(type_url::CLUSTER, "outbound|7070||echo.default.svc.cluster.local")
    }

    fn inbound(&self) -> Value {
        let name = "xds.istio.io/grpc/lds/inbound/[::]:50051";
        let listener = self.get(type_url::LISTENER, name).unwrap();
        assert_eq!(listener["address"]["socket_address"]["address"], "::");
        listener["filter_chains"][0].clone()
    }
}

fn rule(policy: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: echo, namespace: default}}, \
         spec: {{host: echo, trafficPolicy: {policy}}}}}"
    )
}

fn peers(mode: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: default, namespace: default}}, \
         spec: {{mtls: {{mode: {mode}}}}}}}"
    )
}

#[test]
fn a_channels_target_is_any_name_of_a_service() {
    let program = Program::new("");
    let echo = "outbound|7070||echo.default.svc.cluster.local";
    for target in [
        "echo.default.svc.cluster.local:7070",
        "echo.default.svc:7070",
        "echo.default:7070",
        "echo:7070",
        "echo",
    ] {
        assert_eq!(program.route_name(target).as_deref(), Some(echo), "{target}");
        let domains = program.get(type_url::ROUTE, echo).unwrap()["virtual_hosts"][0]["domains"].clone();
        assert!(domains.as_array().unwrap().contains(&target.into()), "{target}: {domains}");
    }
    for target in ["echo:7071", "nobody:7070", "headless", "echo:port", "echo.other:7070"] {
        assert_eq!(program.route_name(target), None, "{target}");
    }
    assert_eq!(program.get(type_url::ROUTE, "outbound|1||echo.default.svc.cluster.local"), None);
}

#[test]
fn clusters_are_found_by_endpoints_or_by_a_single_name() {
    let program = Program::new("");
    let kind = |name: &str| Some(program.get(type_url::CLUSTER, name)?["type"].as_str().unwrap().to_owned());
    assert_eq!(kind("outbound|7070||echo.default.svc.cluster.local").as_deref(), Some("EDS"));
    assert_eq!(kind("outbound|7071||headless.default.svc.cluster.local").as_deref(), Some("EDS"));
    assert_eq!(kind("outbound|443||far.example.com").as_deref(), Some("LOGICAL_DNS"));
    assert_eq!(kind("outbound|443||spread.example.com"), None);
    assert_eq!(kind("outbound|7070|v9|echo.default.svc.cluster.local"), None);
}

#[test]
fn balancing_is_what_the_client_can_do() {
    let balance = |policy: &str, extensions: &[&str]| {
        let cluster = Program::with(&rule(policy), extensions).cluster().unwrap();
        cluster.get("lb_policy").map_or("ROUND_ROBIN", |policy| policy.as_str().unwrap()).to_owned()
    };
    let least = "{loadBalancer: {simple: LEAST_REQUEST}}";
    assert_eq!(balance(least, &[]), "ROUND_ROBIN");
    assert_eq!(balance(least, &["envoy.load_balancing_policies.least_request"]), "LEAST_REQUEST");
    assert_eq!(balance("{loadBalancer: {simple: RANDOM}}", &[]), "ROUND_ROBIN");
    assert_eq!(balance("{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}", &[]), "RING_HASH");
    let limited = rule("{connectionPool: {http: {http2MaxRequests: 7}}}");
    let cluster = Program::new(&limited).cluster().unwrap();
    assert_eq!(cluster["circuit_breakers"]["thresholds"][0]["max_requests"], 7);
}

#[test]
fn a_client_uses_the_meshs_tls_only_where_a_rule_says_so() {
    assert_eq!(Program::new("").cluster().unwrap().get("transport_socket"), None);
    let mutual = Program::new(&rule("{tls: {mode: ISTIO_MUTUAL}}")).cluster().unwrap();
    let context = &mutual["transport_socket"]["typed_config"]["common_tls_context"];
    assert_eq!(context["tls_certificate_provider_instance"]["instance_name"], "default");
    // It has no keys for anything else, and must not go in plain text instead.
    assert_eq!(Program::new(&rule("{tls: {mode: SIMPLE}}")).cluster(), None);
}

#[test]
fn a_server_takes_either_plain_text_or_the_meshs_tls() {
    let inbound = |mode: &str| Program::new(&peers(mode)).inbound()["name"].clone();
    assert_eq!(inbound("STRICT"), "inbound-mtls");
    assert_eq!(inbound("DISABLE"), "inbound-plaintext");
    assert_eq!(inbound("PERMISSIVE"), "inbound-plaintext");
    let strict = Program::new(&peers("STRICT")).inbound();
    assert_eq!(strict["transport_socket"]["typed_config"]["require_client_certificate"], true);
    let labelled = r#"
apiVersion: v1
kind: Pod
metadata: {name: echo-1, namespace: default, labels: {app: echo, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: echo, containers: [{name: app, image: echo}]}
status: {phase: Running, podIP: 10.244.0.1, podIPs: [{ip: 10.244.0.1}]}
"#;
    assert_eq!(Program::new(labelled).inbound()["name"], "inbound-mtls");
    assert_eq!(Program::new("").get(type_url::LISTENER, "xds.istio.io/grpc/lds/inbound/0.0.0.0:1"), None);
}
