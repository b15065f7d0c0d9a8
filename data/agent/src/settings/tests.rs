use super::*;

/// The environment of an injected Bookinfo pod.
pub(crate) fn reviews() -> Environment {
    let vars = [
        ("POD_NAME", "reviews-v1-5c9b-x2x"),
        ("POD_NAMESPACE", "default"),
        ("INSTANCE_IP", "10.244.0.7"),
        ("SERVICE_ACCOUNT", "bookinfo-reviews"),
        ("CA_ADDR", "istiod.istio-system.svc:15012"),
        ("TRUST_DOMAIN", "cluster.local"),
        ("PROXY_CONFIG", "{\"concurrency\":2,\"terminationDrainDuration\":\"7s\"}\n"),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        ("ISTIO_META_WORKLOAD_NAME", "reviews-v1"),
        ("ISTIO_META_OWNER", "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1"),
        ("ISTIO_META_MESH_ID", "cluster.local"),
        ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
        ("ISTIO_META_POD_PORTS", "[{\"containerPort\":9080}]"),
        ("ISTIO_META_APP_CONTAINERS", "reviews"),
        ("ISTIO_META_CUSTOM", "yes"),
        ("ISTIO_METAJSON_MORE", "{\"A\":{\"b\":1}}"),
    ];
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Environment {
        vars: pairs(&vars),
        labels: pairs(&[("app", "reviews"), ("version", "v1"), ("istio.io/rev", "default")]),
        annotations: pairs(&[
            ("sidecar.istio.io/status", "{}"),
            (
                "proxy.istio.io/config",
                "concurrency: 1\nproxyStatsMatcher:\n  inclusionPrefixes: [cluster.outbound]\n",
            ),
            ("other", "x"),
        ]),
    }
}

pub(crate) fn args(role: NodeKind) -> ProxyArgs {
    ProxyArgs { role, domain: "$(POD_NAMESPACE).svc.cluster.local".into(), ..ProxyArgs::default() }
}

#[test]
fn an_injected_pod_knows_itself() {
    let settings = Settings::new(&args(NodeKind::Sidecar), &reviews()).unwrap();
    assert_eq!(
        settings.node.to_string(),
        "sidecar~10.244.0.7~reviews-v1-5c9b-x2x.default~default.svc.cluster.local"
    );
    assert_eq!(settings.service_cluster, "reviews.default");
    assert_eq!(settings.proxy_config.concurrency, Some(1), "the annotation wins");
    assert_eq!(settings.termination_drain(), Duration::from_secs(7));
    assert_eq!(settings.server_name, "istiod.istio-system.svc");
    let metadata = &settings.metadata;
    assert_eq!(metadata.workload_name, "reviews-v1");
    assert_eq!(metadata.labels["app"], "reviews");
    assert_eq!(metadata.annotations.keys().collect::<Vec<_>>(), ["sidecar.istio.io/status"]);
    assert_eq!(metadata.extra["CUSTOM"], "yes");
    assert_eq!(metadata.extra["A"], serde_json::json!({"b": 1}));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let table = [
        ("POD_NAME", "", "POD_NAME is not set"),
        ("INSTANCE_IP", "here", "INSTANCE_IP"),
        ("CA_ADDR", "istiod", "CA_ADDR"),
        ("PROXY_CONFIG", "{", "PROXY_CONFIG"),
        ("PROXY_CONFIG", "[]", "PROXY_CONFIG"),
        ("PROXY_CONFIG", "drainDuration: 5", "ProxyConfig"),
        ("SECRET_TTL", "long", "SECRET_TTL"),
        ("MELTEMI_BYPASS_MARK", "x", "MELTEMI_BYPASS_MARK"),
    ];
    for (name, value, expected) in table {
        let mut env = reviews();
        env.vars.insert(name.to_owned(), value.to_owned());
        let error = Settings::new(&args(NodeKind::Sidecar), &env).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}
