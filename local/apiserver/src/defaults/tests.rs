use super::*;
use crate::registry::Registry;

fn defaulted(kind: (&str, &str), mut object: Value) -> Value {
    let registry = Registry::builtin();
    apply(registry.find_kind(kind.0, kind.1).unwrap(), &mut object);
    object
}

#[test]
fn pull_policies_follow_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:ab", "IfNotPresent"),
    ] {
        let pod = defaulted(("v1", "Pod"), json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn probes_volumes_and_requests_are_completed() {
    let pod = json!({"spec": {"volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "x"}}], "containers": [{
        "name": "a", "image": "i:1", "readinessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1"}},
        "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}});
    let pod = defaulted(("v1", "Pod"), pod);
    let container = &pod["spec"]["containers"][0];
    let probe = json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3});
    assert_eq!(container["readinessProbe"], probe);
    assert_eq!(container["resources"]["requests"], json!({"cpu": "1"}));
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "x", "defaultMode": 420}}])
    );
}

#[test]
fn defaulting_twice_is_defaulting_once() {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    for (kind, spec) in [
        (("apps/v1", "Deployment"), json!({ "template": template })),
        (("apps/v1", "StatefulSet"), json!({ "template": template })),
        (("apps/v1", "DaemonSet"), json!({ "template": template })),
        (("batch/v1", "Job"), json!({ "template": template })),
        (("batch/v1", "CronJob"), json!({"jobTemplate": {"spec": {"template": template}}})),
        (("v1", "Service"), json!({"type": "LoadBalancer", "ports": [{"port": 80}]})),
    ] {
        let once = defaulted(kind, json!({"metadata": {"name": "x"}, "spec": spec}));
        assert_eq!(defaulted(kind, once.clone()), once, "{kind:?}");
    }
}

#[test]
fn quality_of_service_follows_resources() {
    let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
    let full = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(qos(&pod(json!({}))), "BestEffort");
    assert_eq!(qos(&pod(json!({"limits": full, "requests": full}))), "Guaranteed");
    assert_eq!(qos(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
}

#[test]
fn string_data_becomes_data() {
    let secret = defaulted(("v1", "Secret"), json!({"stringData": {"a": "hi"}}));
    assert_eq!(
        (&secret["data"]["a"], &secret["type"], secret.get("stringData")),
        (&json!("aGk="), &json!("Opaque"), None)
    );
}
