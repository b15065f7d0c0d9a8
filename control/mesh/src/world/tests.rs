//! Single facts about the world; histories of changes are in `tests/histories.rs`.

use serde::Deserialize as _;

use super::*;
use crate::endpoint::Health;
use crate::peer_authentication::{MtlsMode, effective};
use crate::status::{self, Missing};

/// The objects of a YAML text as changes.
pub(crate) fn changes(text: &str) -> Vec<Change> {
    let documents = yaml_serde::Deserializer::from_str(text);
    let values = documents.map(|d| serde_json::Value::deserialize(d).unwrap()).filter(|v| !v.is_null());
    values
        .map(|v| Change::Upsert(meltemi_config::parse::parse(&v).unwrap_or_else(|e| panic!("{v}: {e:?}"))))
        .collect()
}

/// A world with the objects of a YAML text.
pub(crate) fn world(text: &str) -> World {
    let mut world = World::new(Settings::default());
    changes(text).into_iter().for_each(|change| world.apply(change));
    world
}

const WEB: &str = r#"
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: a}, spec: {clusterIP: 10.0.0.1, selector: {app: web}, ports: [{port: 80, name: http}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p1, namespace: a, labels: {app: web, pod-template-hash: 5d9c, security.istio.io/tlsMode: istio}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d9c, uid: u, controller: true}]}, spec: {serviceAccountName: web, nodeName: n, containers: [{name: c, image: c}]}, status: {phase: Running, podIP: 10.1.0.1}}
---
{apiVersion: v1, kind: Node, metadata: {name: n, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: z}}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: web-1, namespace: a, labels: {kubernetes.io/service-name: web}}, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.1.0.1], nodeName: n, conditions: {ready: true}}, {addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.1.0.3], conditions: {ready: false}}]}
"#;

fn key() -> ServiceKey {
    ServiceKey { hostname: "web.a.svc.cluster.local".into(), namespace: "a".into() }
}

#[test]
fn endpoints_know_the_workload_behind_them() {
    let snapshot = world(WEB).snapshot();
    let endpoints = snapshot.endpoints_of(&key()).unwrap();
    let health: Vec<Health> = endpoints.of_port(80).iter().map(|e| e.health).collect();
    assert_eq!(health, [Health::Ready, Health::Draining, Health::NotReady]);
    let first = &endpoints.of_port(80)[0];
    assert_eq!((first.port, first.workload_name.as_str(), first.mesh_tls), (8080, "web", true));
    assert_eq!((first.locality.region.as_str(), first.locality.zone.as_str()), ("eu", "z"));
    assert_eq!(endpoints.identities.iter().collect::<Vec<_>>(), [&("a".to_owned(), "web".to_owned())]);
}

#[test]
fn a_change_of_endpoints_alone_touches_endpoints_alone() {
    let mut world = world(WEB);
    let before = world.snapshot();
    world.take_changes();
    let more = WEB.replace("10.1.0.3", "10.1.0.4");
    changes(&more).into_iter().for_each(|change| world.apply(change));
    let after = world.snapshot();
    let touched = world.take_changes();
    assert!(touched.endpoints_only() && touched.touched.len() == 1, "{touched:?}");
    let shared = |s: &Snapshot| Arc::as_ptr(s.services.get("a", "web.a.svc.cluster.local").unwrap());
    assert_eq!(shared(&before), shared(&after), "what did not change is shared");
}

#[test]
fn deleting_takes_everything_away() {
    let mut world = world(WEB);
    world.snapshot();
    for change in changes(WEB) {
        let Change::Upsert(object) = change else { unreachable!() };
        world.apply(Change::Delete(object.kind(), object.namespace().into(), object.name().into()));
    }
    assert_eq!(*world.snapshot(), Snapshot::default());
}

#[test]
fn the_closest_peer_authentication_wins() {
    let policy = |name: &str, namespace: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}\n"
        )
    };
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let mode = |text: &str, port| effective(&world(text).snapshot(), "a", &labels).mode(port);
    let mut text = String::new();
    assert_eq!(mode(&text, 80), MtlsMode::Permissive);
    text += &policy("m", "istio-system", "{mtls: {mode: STRICT}}");
    assert_eq!(mode(&text, 80), MtlsMode::Strict);
    text += &policy("n", "a", "{mtls: {mode: DISABLE}}");
    assert_eq!(mode(&text, 80), MtlsMode::Disable);
    text +=
        &policy("w", "a", "{selector: {matchLabels: {app: web}}, portLevelMtls: {\"80\": {mode: STRICT}}}");
    assert_eq!((mode(&text, 80), mode(&text, 81)), (MtlsMode::Strict, MtlsMode::Disable));
}

#[test]
fn statuses_name_what_is_missing() {
    let text = format!(
        r#"{WEB}---
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v, namespace: a}}, spec: {{hosts: [web], gateways: [mesh, gone], http: [{{route: [{{destination: {{host: web, subset: v9}}, weight: 1}}, {{destination: {{host: web, port: {{number: 99}}}}, weight: 1}}]}}, {{route: [{{destination: {{host: nobody}}}}]}}]}}}}
"#
    );
    let snapshot = world(&text).snapshot();
    let vs = snapshot.virtual_services.get("a", "v").unwrap();
    let web = "web.a.svc.cluster.local".to_owned();
    assert_eq!(
        status::of_virtual_service(&snapshot, vs),
        [
            Missing::Host { hostname: "nobody.a.svc.cluster.local".into() },
            Missing::Subset { hostname: web.clone(), subset: "v9".into() },
            Missing::Port { hostname: web, port: 99 },
            Missing::Gateway { gateway: "a/gone".into() },
        ]
    );
}

#[test]
fn the_oldest_virtual_service_of_a_gateway_comes_first() {
    let vs = |name: &str, created: &str| {
        format!(
            "---\n{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: a, creationTimestamp: \"{created}\"}}, spec: {{hosts: [web], http: [{{route: [{{destination: {{host: web}}}}]}}]}}}}\n"
        )
    };
    let text = vs("young", "2026-02-01T00:00:00Z") + &vs("old", "2026-01-01T00:00:00Z");
    let snapshot = world(&text).snapshot();
    let names: Vec<_> =
        snapshot.virtual_services_for("mesh", "b").map(|v| v.object.meta.name.as_str()).collect();
    assert_eq!(names, ["old", "young"]);
}

#[test]
fn a_namespaces_own_virtual_service_goes_before_older_public_ones() {
    let vs = |name: &str, namespace: &str, created: &str, export: &str| {
        format!(
            "---\n{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: \"{created}\"}}, spec: {{hosts: [web.a.svc.cluster.local], exportTo: [{export}], http: [{{route: [{{destination: {{host: web.a.svc.cluster.local}}}}]}}]}}}}\n"
        )
    };
    let text = vs("public", "a", "2026-01-01T00:00:00Z", "'*'")
        + &vs("told", "a", "2026-02-01T00:00:00Z", "b")
        + &vs("private", "b", "2026-03-01T00:00:00Z", "'.'");
    let snapshot = world(&text).snapshot();
    let names = |namespace: &str| -> Vec<String> {
        snapshot.virtual_services_for("mesh", namespace).map(|v| v.object.meta.name.clone()).collect()
    };
    assert_eq!(names("b"), ["private", "told", "public"]);
    assert_eq!(names("a"), ["public"]);
}
