use super::*;
use serde_json::json;

fn zone() -> Zone {
    let service = |name: &str, spec: serde_json::Value| -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": name}, "spec": spec}))
            .unwrap()
    };
    let slice = |name: &str, endpoints: serde_json::Value| -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "redis", "port": 6379, "protocol": "TCP"}], "endpoints": endpoints
        }))
        .unwrap()
    };
    let services = [
        service("web", json!({"clusterIP": "10.96.4.4", "ports": [{"name": "http", "port": 80}]})),
        service("db", json!({"clusterIP": "None", "ports": [{"name": "redis", "port": 6379}]})),
        service("out", json!({"type": "ExternalName", "externalName": "example.org."})),
    ];
    let endpoints = json!([
        {"addresses": ["10.244.0.7"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.244.0.8"], "conditions": {"ready": true}},
        {"addresses": ["10.244.0.9"], "conditions": {"ready": false}}
    ]);
    Zone::build(&services, &[slice("db", endpoints)])
}

fn a(addresses: &[&str]) -> Answer {
    Answer::Records(addresses.iter().map(|a| Data::A(a.parse().unwrap())).collect())
}

#[test]
fn addresses() {
    let zone = zone();
    for (name, expected) in [
        ("web.default.svc.cluster.local", a(&["10.96.4.4"])),
        ("WEB.default.SVC.cluster.local", a(&["10.96.4.4"])),
        ("db.default.svc.cluster.local", a(&["10.244.0.7", "10.244.0.8"])),
        ("db-0.db.default.svc.cluster.local", a(&["10.244.0.7"])),
        ("10-244-0-8.db.default.svc.cluster.local", a(&["10.244.0.8"])),
        ("10-244-0-9.default.pod.cluster.local", a(&["10.244.0.9"])),
        ("default.svc.cluster.local", a(&[])),
        ("cluster.local", a(&[])),
        ("nosuch.default.svc.cluster.local", Answer::NoSuchName),
        ("web.other.svc.cluster.local", Answer::NoSuchName),
        ("other.svc.cluster.local", Answer::NoSuchName),
        ("db-9.db.default.svc.cluster.local", Answer::NoSuchName),
        ("x.default.pod.cluster.local", Answer::NoSuchName),
        ("web.default.cluster.local", Answer::NoSuchName),
        ("example.org", Answer::Outside),
        ("notcluster.local", Answer::Outside),
        ("web", Answer::Outside),
    ] {
        assert_eq!(zone.answer(name, Kind::A), expected, "{name}");
    }
}

#[test]
fn other_types_of_names_that_exist_are_empty_not_missing() {
    let zone = zone();
    for name in [
        "web.default.svc.cluster.local",
        "db-0.db.default.svc.cluster.local",
        "10-244-0-9.x.pod.cluster.local",
    ] {
        assert_eq!(zone.answer(name, Kind::Other), Answer::Records(vec![]), "{name}");
    }
}

#[test]
fn external_names_are_aliases() {
    let expected = Answer::Records(vec![Data::Cname("example.org".into())]);
    assert_eq!(zone().answer("out.default.svc.cluster.local", Kind::A), expected);
}

#[test]
fn ports_are_found_by_name() {
    let zone = zone();
    let web = Data::Srv { port: 80, target: "web.default.svc.cluster.local".into() };
    assert_eq!(
        zone.answer("_http._tcp.web.default.svc.cluster.local", Kind::Srv),
        Answer::Records(vec![web])
    );
    let Answer::Records(found) = zone.answer("_redis._tcp.db.default.svc.cluster.local", Kind::Srv) else {
        panic!()
    };
    assert_eq!(found[0], Data::Srv { port: 6379, target: "db-0.db.default.svc.cluster.local".into() });
    assert_eq!(zone.answer("_nope._tcp.web.default.svc.cluster.local", Kind::Srv), Answer::NoSuchName);
}

#[test]
fn addresses_have_names() {
    let zone = zone();
    for (name, expected) in [
        ("4.4.96.10.in-addr.arpa", Answer::Records(vec![Data::Ptr("web.default.svc.cluster.local".into())])),
        (
            "7.0.244.10.in-addr.arpa",
            Answer::Records(vec![Data::Ptr("db-0.db.default.svc.cluster.local".into())]),
        ),
        ("77.0.244.10.in-addr.arpa", Answer::NoSuchName),
        ("8.8.8.8.in-addr.arpa", Answer::Outside),
    ] {
        assert_eq!(zone.answer(name, Kind::Ptr), expected, "{name}");
    }
}
