use super::*;
use serde_json::json;

fn service(target: serde_json::Value) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "1", "labels": {"app": "web"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9",
            "ports": [{"name": "http", "port": 80, "targetPort": target, "appProtocol": "http"}]},
    }))
    .unwrap()
}

fn pod(name: &str, ip: &str, ready: bool, deleted: bool, port: i32) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    if deleted {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    serde_json::from_value(pod).unwrap()
}

fn conditions(slice: &EndpointSlice) -> Vec<(bool, bool, bool)> {
    let flags = |endpoint: &Endpoint| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        (
            conditions.ready == Some(true),
            conditions.serving == Some(true),
            conditions.terminating == Some(true),
        )
    };
    slice.endpoints.iter().flatten().map(flags).collect()
}

#[test]
fn ready_waiting_and_terminating_pods() {
    let pods = [
        pod("a", "10.0.0.1", true, false, 80),
        pod("b", "10.0.0.2", false, false, 80),
        pod("c", "10.0.0.3", true, true, 80),
    ];
    let slices = slices(&service(json!(8080)), &pods);
    assert_eq!(slices.len(), 1);
    assert_eq!(conditions(&slices[0]), [(true, true, false), (false, false, false), (false, true, true)]);
    let port = &slices[0].ports.as_ref().unwrap()[0];
    assert_eq!((port.port, port.app_protocol.as_deref()), (Some(8080), Some("http")));
    let endpoints = endpoints(&service(json!(8080)), &pods);
    let subset = &endpoints.subsets.unwrap()[0];
    assert_eq!(subset.addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
    assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 1, "a terminating pod is in neither list");
}

#[test]
fn a_named_port_may_differ_from_pod_to_pod() {
    let pods = [
        pod("a", "10.0.0.1", true, false, 8080),
        pod("b", "10.0.0.2", true, false, 9090),
        pod("c", "10.0.0.3", true, false, 9090),
    ];
    let slices = slices(&service(json!("web")), &pods);
    let ports: Vec<_> = slices.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port).collect();
    assert_eq!(ports, [Some(9090), Some(8080)]);
    assert_eq!(slices[0].metadata.name.as_deref(), Some("web-slice"));
}

#[test]
fn a_service_without_pods_has_an_empty_slice_and_empty_endpoints() {
    let slices = slices(&service(json!(8080)), &[]);
    assert_eq!(slices.len(), 1);
    assert!(slices[0].endpoints.as_ref().unwrap().is_empty());
    assert_eq!(endpoints(&service(json!(8080)), &[]).subsets, None);
}
