//! What proxies see, from small meshes written as YAML.

use std::collections::BTreeSet;

use super::*;
use crate::world::tests::world;

fn sidecar(namespace: &str, name: &str, app: &str) -> ProxyIdentity {
    ProxyIdentity {
        kind: ProxyKind::Sidecar,
        name: name.into(),
        namespace: namespace.into(),
        ips: vec![],
        labels: [("app".to_owned(), app.to_owned())].into(),
        service_account: "default".into(),
        metadata: NodeMetadata::default(),
        extensions: BTreeSet::new(),
    }
}

fn hosts(view: &ProxyView) -> Vec<&str> {
    view.services.iter().map(|s| s.key.hostname.split('.').next().unwrap_or("")).collect()
}

const SERVICES: &str = r#"
{apiVersion: v1, kind: Service, metadata: {name: one, namespace: a}, spec: {clusterIP: 10.0.0.1, selector: {app: one}, ports: [{port: 80, targetPort: web, name: http}, {port: 81, targetPort: 8081}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: two, namespace: b}, spec: {clusterIP: 10.0.0.2, ports: [{port: 80, name: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: private, namespace: b, annotations: {networking.istio.io/exportTo: "."}}, spec: {clusterIP: 10.0.0.3, ports: [{port: 80, name: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: alias, namespace: a}, spec: {type: ExternalName, externalName: two.b.svc.cluster.local, ports: [{port: 80, name: http}]}}
"#;

#[test]
fn visibility_follows_export_to_and_aliases_stand_apart() {
    let snapshot = world(SERVICES).snapshot();
    let view = ProxyView::of(&snapshot, &sidecar("a", "x", "x"));
    assert_eq!(hosts(&view), ["one", "two"]);
    assert_eq!(view.aliases["two.b.svc.cluster.local"].len(), 1);
    let means = view.destination("alias.a.svc.cluster.local").unwrap();
    assert_eq!(means.key.hostname, "two.b.svc.cluster.local");
    let view = ProxyView::of(&snapshot, &sidecar("b", "x", "x"));
    assert_eq!(hosts(&view), ["one", "private", "two"]);
}

#[test]
fn a_sidecar_limits_what_is_seen_and_routes_bring_their_destinations() {
    let text = format!(
        r#"{SERVICES}---
{{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {{name: d, namespace: a}}, spec: {{egress: [{{hosts: ["./*"]}}], outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}}}}}
"#
    );
    let mut world = world(&text);
    let view = ProxyView::of(&world.snapshot(), &sidecar("a", "x", "x"));
    assert_eq!(hosts(&view), ["alias", "one"]);
    assert!(!view.allow_any);
    for change in crate::world::tests::changes(
        r#"{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: a}, spec: {hosts: [one], http: [{route: [{destination: {host: two.b.svc.cluster.local}}]}]}}"#,
    ) {
        world.apply(change);
    }
    let view = ProxyView::of(&world.snapshot(), &sidecar("a", "x", "x"));
    assert_eq!(hosts(&view), ["one", "two"], "the alias now stands for a service in view");
}

#[test]
fn a_workload_serves_the_ports_its_services_map_to() {
    let text = format!(
        r#"{SERVICES}---
{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: a, labels: {{app: one}}}}, spec: {{containers: [{{name: c, image: c, ports: [{{name: web, containerPort: 8080}}]}}]}}, status: {{phase: Running, podIP: 10.1.1.1}}}}
"#
    );
    let snapshot = world(&text).snapshot();
    let ports = |identity: &ProxyIdentity| -> Vec<(u16, u16)> {
        let view = ProxyView::of(&snapshot, identity);
        view.targets.iter().map(|t| (t.port.number, t.workload_port)).collect()
    };
    assert_eq!(ports(&sidecar("a", "p", "")), [(80, 8080), (81, 8081)], "labels are the pod's own");
    assert_eq!(ports(&sidecar("a", "unknown", "one")), [(81, 8081)], "a named port needs the pod");
    assert_eq!(ports(&sidecar("b", "p", "one")), [], "another namespace");
}

#[test]
fn destination_rules_are_found_from_the_client_to_the_root() {
    let rule = |namespace: &str, host: &str, extra: &str| {
        format!(
            "---\n{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: {}, namespace: {namespace}}}, spec: {{host: \"{host}\", subsets: [{{name: {namespace}}}]{extra}}}}}\n",
            host.replace('*', "all").to_lowercase()
        )
    };
    let mut text = SERVICES.to_owned();
    let found = |text: &str, namespace: &str, app: &str| -> String {
        let snapshot = world(text).snapshot();
        let view = ProxyView::of(&snapshot, &sidecar(namespace, "x", app));
        let service = view.service("two.b.svc.cluster.local").unwrap().clone();
        view.destination_rule(&snapshot, &service).map(|r| r.subsets[0].name.clone()).unwrap_or_default()
    };
    assert_eq!(found(&text, "a", "x"), "");
    text += &rule("istio-system", "*.local", "");
    assert_eq!(found(&text, "a", "x"), "istio-system");
    text += &rule("b", "two", "");
    assert_eq!(found(&text, "a", "x"), "b");
    assert_eq!(
        found(&text, "istio-system", "x"),
        "b",
        "rules for the whole mesh come last in the root namespace too"
    );
    let private = rule("istio-system", "*.cluster.local", ", exportTo: ['.']");
    assert_eq!(found(&(text.clone() + &private), "istio-system", "x"), "istio-system");
    assert_eq!(found(&(text.clone() + &private), "a", "x"), "b");
    text += &rule("a", "*.b.svc.cluster.local", ", workloadSelector: {matchLabels: {app: special}}");
    assert_eq!(found(&text, "a", "x"), "b");
    assert_eq!(found(&text, "a", "special"), "a");
    text += &rule("c", "two.b.svc.cluster.local", "");
    assert_eq!(found(&text, "a", "x"), "b", "a third namespace has no say");
}
