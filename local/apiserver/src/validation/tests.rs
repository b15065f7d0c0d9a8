use super::*;
use crate::registry::Registry;
use serde_json::json;

fn errors(kind: (&str, &str), mut object: Value) -> Vec<String> {
    let registry = Registry::builtin();
    let resource = registry.find_kind(kind.0, kind.1).unwrap();
    crate::defaults::apply(resource, &mut object);
    validate(resource, &object, None).iter().map(ToString::to_string).collect()
}

#[test]
fn names_and_labels_are_checked() {
    let named = |name: &str| errors(("v1", "ConfigMap"), json!({"metadata": {"name": name}}));
    assert!(named("a.b-c").is_empty());
    assert!(named("A_b")[0].starts_with(
        "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of"
    ));
    assert_eq!(named("")[0], "metadata.name: Required value: name or generateName is required");
    let label = json!({"metadata": {"name": "a", "labels": {"k": "-x"}}});
    assert!(
        errors(("v1", "ConfigMap"), label)[0]
            .starts_with("metadata.labels: Invalid value: \"-x\": a valid label must be")
    );
    assert!(
        errors(("v1", "Service"), json!({"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}))[0]
            .contains("DNS-1035")
    );
}

#[test]
fn pods_are_checked() {
    let pod = |spec: Value| errors(("v1", "Pod"), json!({"metadata": {"name": "p"}, "spec": spec}));
    assert_eq!(pod(json!({})), ["spec.containers: Required value"]);
    assert_eq!(
        pod(json!({"containers": [{"name": "a"}]})),
        [
            "spec.containers[0].image: Required value",
            "spec.containers[0].imagePullPolicy: Unsupported value: \"\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
        ]
    );
    let twice = json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]});
    assert_eq!(pod(twice), ["spec.containers[1].name: Duplicate value: \"a\""]);
    let mount = json!({"containers": [{"name": "a", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
    assert_eq!(pod(mount), ["spec.containers[0].volumeMounts[0].name: Not found: \"v\""]);
    let amount =
        json!({"containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "much"}}}]});
    assert!(
        pod(amount)[0].starts_with("spec.containers[0].resources.requests[cpu]: Invalid value: \"much\"")
    );
}

#[test]
fn selectors_must_match_their_template() {
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}}}});
    let found = errors(("apps/v1", "Deployment"), deployment);
    assert_eq!(
        found,
        [
            "spec.template.metadata.labels: Invalid value: {\"x\":\"y\"}: `selector` does not match template `labels`"
        ]
    );
}

#[test]
fn quantities_are_recognized() {
    for (text, good) in [
        ("1", true),
        ("100m", true),
        ("1.5Gi", true),
        ("1e3", true),
        ("-1", false),
        ("1Gb", false),
        ("", false),
    ] {
        assert_eq!(pod::is_quantity(text), good, "{text}");
    }
}
