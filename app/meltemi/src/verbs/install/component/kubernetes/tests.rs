use super::*;

fn objects() -> Vec<Value> {
    vec![
        json!({"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1, "template": {"metadata": {}, "spec": {
            "volumes": [{"name": "a", "emptyDir": {}}],
            "containers": [{"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
        }}}}),
        json!({"kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"name": "x", "port": 1}]}}),
        json!({"kind": "PodDisruptionBudget", "metadata": {"name": "p"}, "spec": {"minAvailable": 1}}),
    ]
}

fn applied(k8s: &Value) -> Vec<Value> {
    let mut objects = objects();
    apply(Some(k8s), "k8s", &mut objects).expect("valid");
    objects
}

#[test]
fn every_field_has_a_place() {
    let placed: Vec<&str> = PLACES.iter().map(|(field, ..)| *field).collect();
    let missing: Vec<&&str> = FIELDS.iter().filter(|field| !placed.contains(*field)).collect();
    assert_eq!(missing, [&"overlays"]);
}

#[test]
fn a_deployment_takes_settings_of_its_pods() {
    let objects = applied(&json!({
        "replicaCount": 3,
        "strategy": {"type": "Recreate"},
        "podAnnotations": {"a": "b"},
        "priorityClassName": "system-node-critical",
        "securityContext": {"fsGroup": 7},
        "imagePullPolicy": "Always",
        "readinessProbe": {"periodSeconds": 9},
        "volumes": [{"name": "b", "emptyDir": {}}],
        "volumeMounts": [{"name": "b", "mountPath": "/b"}],
        "env": [{"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "C", "value": "3"}],
    }));
    let spec = &objects[0]["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(3), &json!("Recreate")));
    let pod = &spec["template"];
    assert_eq!(pod["metadata"]["annotations"]["a"], "b");
    assert_eq!(pod["spec"]["priorityClassName"], "system-node-critical");
    assert_eq!(pod["spec"]["securityContext"]["fsGroup"], 7);
    assert_eq!(pod["spec"]["volumes"][1]["name"], "b");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["readinessProbe"]["periodSeconds"], 9);
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/b");
    assert_eq!(container["env"][0], json!({"name": "A", "value": "1"}));
    assert!(container["env"][1].get("value").is_none(), "valueFrom takes the place of value");
    assert_eq!(container["env"][2]["name"], "C");
}

#[test]
fn services_and_budgets_take_theirs() {
    let objects = applied(&json!({
        "service": {"externalTrafficPolicy": "Local", "ports": [{"name": "y", "port": 2}]},
        "serviceAnnotations": {"lb": "internal"},
        "podDisruptionBudget": {"maxUnavailable": 1},
    }));
    assert_eq!(objects[1]["spec"]["type"], "LoadBalancer");
    assert_eq!(objects[1]["spec"]["externalTrafficPolicy"], "Local");
    assert_eq!(objects[1]["spec"]["ports"], json!([{"name": "y", "port": 2}]));
    assert_eq!(objects[1]["metadata"]["annotations"]["lb"], "internal");
    assert_eq!(objects[2]["spec"], json!({"minAvailable": 1, "maxUnavailable": 1}));
}

#[test]
fn an_autoscaler_keeps_the_number_of_replicas() {
    let mut objects = objects();
    objects.push(
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": {"maxReplicas": 5}}),
    );
    let k8s = json!({"replicaCount": 3, "hpaSpec": {"behavior": {}}});
    apply(Some(&k8s), "k8s", &mut objects).expect("valid");
    assert_eq!(objects[0]["spec"]["replicas"], 1);
    assert_eq!(objects[3]["spec"], json!({"maxReplicas": 5, "behavior": {}}));
}
