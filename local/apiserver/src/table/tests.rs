use super::format::span;
use super::*;
use crate::registry::Registry;

fn cells(kind: (&str, &str), object: Value) -> Vec<String> {
    let registry = Registry::builtin();
    let resource = registry.find_kind(kind.0, kind.1).unwrap();
    let row = row(resource, &object, Include::Nothing);
    let columns = columns(resource).len();
    let cells = row["cells"].as_array().unwrap();
    assert_eq!(cells.len(), columns, "a cell for every column");
    cells.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect()
}

fn pod(spec: Value, status: Value) -> String {
    let cells = cells(("v1", "Pod"), json!({"metadata": {"name": "p"}, "spec": spec, "status": status}));
    format!("{} {} {}", cells[1], cells[2], cells[3])
}

#[test]
fn spans_are_written_as_kubectl_does() {
    for (seconds, text) in [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (30 * 3600, "30h"),
        (3 * 86400 + 3600, "3d1h"),
        (10 * 86400, "10d"),
        (-5, "<invalid>"),
    ] {
        assert_eq!(span(seconds), text, "{seconds}");
    }
}

#[test]
fn pods_show_the_state_that_matters() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let running = |ready: bool| json!({"ready": ready, "restartCount": 0, "state": {"running": {}}});
    let waiting =
        |reason: &str| json!({"ready": false, "restartCount": 3, "state": {"waiting": {"reason": reason}}});
    let ended = |code: i64, reason: &str| json!({"ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code, "reason": reason}}});
    let status = |phase: &str, all: Value| json!({"phase": phase, "containerStatuses": all});
    for (expected, status) in [
        ("0/2 Pending 0", json!({"phase": "Pending"})),
        ("2/2 Running 0", status("Running", json!([running(true), running(true)]))),
        ("1/2 CrashLoopBackOff 3", status("Running", json!([running(true), waiting("CrashLoopBackOff")]))),
        ("0/2 ErrImagePull 3", status("Pending", json!([waiting("ErrImagePull"), running(false)]))),
        ("0/2 Completed 0", status("Succeeded", json!([ended(0, "Completed"), ended(0, "Completed")]))),
        ("0/2 Error 0", status("Failed", json!([ended(1, "Error"), ended(0, "Completed")]))),
        ("1/2 NotReady 0", status("Running", json!([ended(0, "Completed"), running(true)]))),
        ("0/2 Evicted 0", json!({"phase": "Failed", "reason": "Evicted"})),
    ] {
        assert_eq!(pod(two.clone(), status), expected);
    }
    let terminating = json!({"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": two, "status": {"phase": "Running"}});
    assert_eq!(cells(("v1", "Pod"), terminating)[2], "Terminating");
}

#[test]
fn init_containers_and_sidecars_count() {
    let spec = json!({"containers": [{"name": "a"}], "initContainers": [
        {"name": "first"}, {"name": "proxy", "restartPolicy": "Always"}]});
    let done = json!({"name": "first", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}});
    let starting = json!({"name": "first", "restartCount": 0, "state": {"running": {}}});
    let proxy =
        json!({"name": "proxy", "restartCount": 0, "ready": true, "started": true, "state": {"running": {}}});
    let waiting = json!({"name": "proxy", "restartCount": 0, "ready": false, "state": {"waiting": {"reason": "PodInitializing"}}});
    let main = json!([{"name": "a", "restartCount": 0, "ready": true, "state": {"running": {}}}]);
    assert_eq!(
        pod(spec.clone(), json!({"phase": "Pending", "initContainerStatuses": [starting, waiting.clone()]})),
        "0/2 Init:0/2 0"
    );
    assert_eq!(
        pod(spec.clone(), json!({"phase": "Pending", "initContainerStatuses": [done.clone(), waiting]})),
        "0/2 Init:1/2 0"
    );
    let status =
        json!({"phase": "Running", "initContainerStatuses": [done, proxy], "containerStatuses": main});
    assert_eq!(pod(spec.clone(), status), "2/2 Running 0");
    let failed =
        json!({"name": "first", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    assert_eq!(
        pod(spec, json!({"phase": "Pending", "initContainerStatuses": [failed]})),
        "0/2 Init:CrashLoopBackOff 2"
    );
}

#[test]
fn services_show_ports_and_addresses() {
    let service = |spec: Value, status: Value| {
        let cells =
            cells(("v1", "Service"), json!({"metadata": {"name": "s"}, "spec": spec, "status": status}));
        cells[1..5].join(" ")
    };
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
    let spec = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": ports});
    assert_eq!(service(spec.clone(), json!({})), "LoadBalancer 10.96.0.9 <pending> 80:30080/TCP,53/UDP");
    let status = json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}});
    assert_eq!(service(spec, status), "LoadBalancer 10.96.0.9 127.0.0.1 80:30080/TCP,53/UDP");
    let external = json!({"type": "ExternalName", "externalName": "example.com"});
    assert_eq!(service(external, json!({})), "ExternalName <none> example.com <none>");
}

#[test]
fn other_kinds_have_the_columns_users_know() {
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}});
    assert_eq!(
        cells(("apps/v1", "Deployment"), deployment),
        ["d", "2/3", "3", "2", "<unknown>", "c", "i:1", "a=b"]
    );
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "nodeInfo": {"kubeletVersion": "v1.34.2"}}});
    assert_eq!(
        cells(("v1", "Node"), node)[1..6],
        ["Ready", "control-plane", "<unknown>", "v1.34.2", "10.0.0.1"]
    );
    let endpoints = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}],
        "ports": [{"port": 80}, {"port": 81}]}]});
    assert_eq!(cells(("v1", "Endpoints"), endpoints)[1], "1.1.1.1:80,1.1.1.1:81,2.2.2.2:80 + 1 more...");
    let event = json!({"metadata": {"name": "x"}, "type": "Normal", "reason": "Pulled", "message": "m",
        "involvedObject": {"kind": "Pod", "name": "p"}, "count": 2});
    assert_eq!(cells(("v1", "Event"), event)[1..4], ["Normal", "Pulled", "pod/p"]);
    let job = json!({"metadata": {"name": "j"}, "spec": {"completions": 1}, "status": {"succeeded": 1,
        "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:05Z", "conditions": [{"type": "Complete", "status": "True"}]}});
    assert_eq!(cells(("batch/v1", "Job"), job)[1..4], ["Complete", "1/1", "5s"]);
}

#[test]
fn every_builtin_kind_makes_a_row_of_its_columns() {
    for resource in Registry::builtin().collections() {
        let row = row(resource, &json!({"metadata": {"name": "x"}}), Include::Metadata);
        assert_eq!(
            row["cells"].as_array().unwrap().len(),
            columns(resource).len(),
            "{}",
            resource.qualified()
        );
    }
}

#[test]
fn json_paths_of_custom_columns() {
    let object = json!({"spec": {"hosts": ["a", "b"]}, "metadata": {"annotations": {"x.y/z": "v"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let find = |path: &str| super::custom::find(&object, path).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(find(".spec.hosts"), [json!(["a", "b"])]);
    assert_eq!(find(".spec.hosts[*]"), [json!("a"), json!("b")]);
    assert_eq!(find(".spec.hosts[1]"), [json!("b")]);
    assert_eq!(find(".status.conditions[?(@.type==\"Ready\")].status"), [json!("True")]);
    assert_eq!(find(".metadata.annotations.x\\.y/z"), [json!("v")]);
    assert!(find(".spec.missing").is_empty());
}
