use super::*;
use serde_json::json;

struct Fixed(Facts);

impl Sources for Fixed {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        (name == "cm").then(|| [("key".to_owned(), b"from-cm".to_vec())].into())
    }

    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        (name == "sec").then(|| [("pass".to_owned(), b"word".to_vec())].into())
    }

    fn claim(&self, name: &str) -> Result<Directory, String> {
        Err(format!("persistentvolumeclaim {name:?} not found"))
    }

    fn facts(&self) -> &Facts {
        &self.0
    }
}

fn sources() -> Fixed {
    Fixed(Facts { pod_ip: "10.244.0.9".into(), host_ip: "10.244.0.1".into(), cpus: 2, memory: 1 << 30 })
}

fn pod(container: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "default", "uid": "u1", "labels": {"app": "web", "version": "v1"},
                     "annotations": {"a.b/c": "d"}},
        "spec": {"serviceAccountName": "sa", "nodeName": "meltemi", "containers": [container]}
    }))
    .unwrap()
}

fn env(container: serde_json::Value) -> Result<Vec<(String, String)>, ConfigError> {
    let mut container = container;
    container["name"] = json!("c");
    let pod = pod(container);
    environment(&pod, &pod.spec.as_ref().unwrap().containers[0], &BTreeMap::new(), &sources())
}

#[test]
fn references_are_expanded() {
    let env = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "two".to_owned())];
    for (text, expected) in [
        ("$(A)-$(B)", "1-two"),
        ("$$(A)", "$(A)"),
        ("$(NO) $A ${A} $", "$(NO) $A ${A} $"),
        ("$(A", "$(A"),
        ("", ""),
        ("a$$b$$", "a$b$"),
        ("é$(B)é", "étwoé"),
    ] {
        assert_eq!(expand(text, &env), expected, "{text}");
    }
}

#[test]
fn values_come_from_everywhere() {
    let found = env(json!({
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "nosuch", "optional": true}}],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "URL", "value": "http://$(IP):$(PORT)"},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "key"}}},
            {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pass"}}},
            {"name": "SKIP", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "x", "optional": true}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "P_key", "value": "over"}
        ],
        "resources": {"limits": {"cpu": "1500m"}}
    }))
    .unwrap();
    let expected = [
        ("P_key", "over"),
        ("IP", "10.244.0.9"),
        ("URL", "http://10.244.0.9:$(PORT)"),
        ("LABEL", "web"),
        ("KEY", "from-cm"),
        ("PASS", "word"),
        ("CPU", "2"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_missing_is_named() {
    let key_ref = |name: &str| json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": name, "key": "k"}}}]});
    assert_eq!(env(key_ref("none")).unwrap_err(), "configmap \"none\" not found");
    assert_eq!(env(key_ref("cm")).unwrap_err(), "couldn't find key k in configmap cm");
    let wrong = json!({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.wrong"}}}]});
    assert!(env(wrong).unwrap_err().contains("spec.wrong"));
}

#[test]
fn fields_and_tables() {
    let pod = pod(json!({"name": "c"}));
    let facts = sources().0;
    assert_eq!(field(&pod, "metadata.labels", &facts).unwrap(), "app=\"web\"\nversion=\"v1\"");
    assert_eq!(field(&pod, "metadata.annotations['a.b/c']", &facts).unwrap(), "d");
    assert_eq!(field(&pod, "spec.serviceAccountName", &facts).unwrap(), "sa");
}

#[test]
fn quantities() {
    for (text, number) in
        [("2", 2.0), ("100m", 0.1), ("128Mi", 134_217_728.0), ("1e3", 1000.0), ("1.5Gi", 1_610_612_736.0)]
    {
        assert_eq!(quantity(&Quantity(text.into())), Some(number), "{text}");
    }
    assert_eq!(quantity(&Quantity("x".into())), None);
}
