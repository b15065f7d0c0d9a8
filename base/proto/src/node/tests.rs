use super::*;

#[test]
fn ids_survive_a_round_trip() {
    for id in [
        "sidecar~10.1.1.1~reviews-v1-abc.default~default.svc.cluster.local",
        "router~fd00::1~gw.with.dots.istio-system~istio-system.svc.cluster.local",
    ] {
        assert_eq!(id.parse::<NodeId>().unwrap().to_string(), id);
    }
}

#[test]
fn bad_ids_say_what_is_wrong() {
    let table = [
        ("", "expected <kind>"),
        ("sidecar~10.0.0.1~a.b", "expected <kind>"),
        ("car~10.0.0.1~a.b~c", "expected sidecar"),
        ("sidecar~ten~a.b~c", "IPv4 or IPv6"),
        ("sidecar~10.0.0.1~ab~c", "<pod>.<namespace>"),
        ("sidecar~10.0.0.1~.b~c", "<pod>.<namespace>"),
    ];
    for (id, expected) in table {
        let error = id.parse::<NodeId>().unwrap_err().to_string();
        assert!(error.contains(expected), "{id}: {error}");
    }
}

#[test]
fn metadata_keeps_keys_it_does_not_know() {
    let json = serde_json::json!({
        "NAME": "pod", "NAMESPACE": "default", "LABELS": {"app": "reviews", "version": 1},
        "INSTANCE_IPS": "10.0.0.1, fd00::1", "CUSTOM": {"a": true},
        "PROXY_CONFIG": {"concurrency": 2},
    });
    let metadata = NodeMetadata::from_struct(&structs::from_map(json.as_object().unwrap())).unwrap();
    assert_eq!(metadata.labels["version"], "1");
    assert_eq!(metadata.ips().len(), 2);
    assert_eq!(metadata.extra["CUSTOM"], serde_json::json!({"a": true}));
    assert_eq!(NodeMetadata::from_struct(&metadata.to_struct()).unwrap(), metadata);
}
