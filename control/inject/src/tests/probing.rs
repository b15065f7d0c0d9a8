use serde_json::{Value, json};

use super::{env, find, injected, pod, with_annotation};

#[test]
fn every_kind_of_probe_goes_through_the_agent() {
    let mut pod = pod();
    pod["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 9080}]);
    pod["spec"]["containers"][0]["livenessProbe"] =
        json!({"httpGet": {"path": "/live", "port": "web", "scheme": "HTTPS"}, "timeoutSeconds": 7});
    pod["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 9080}, "periodSeconds": 2});
    pod["spec"]["containers"][0]["startupProbe"] = json!({"exec": {"command": ["true"]}});
    pod["spec"]["containers"].as_array_mut().unwrap().push(
        json!({"name": "second", "image": "x", "readinessProbe": {"grpc": {"port": 9000, "service": "s"}}}),
    );
    let injected = injected(&pod);
    let app = find(&injected, "containers", "reviews");
    let get = json!({"path": "/app-health/reviews/livez", "port": 15020, "scheme": "HTTP"});
    assert_eq!(app["livenessProbe"], json!({"timeoutSeconds": 7, "httpGet": get}));
    let get = json!({"path": "/app-health/reviews/readyz", "port": 15020});
    assert_eq!(app["readinessProbe"], json!({"periodSeconds": 2, "httpGet": get}));
    assert_eq!(app["startupProbe"], json!({"exec": {"command": ["true"]}}));
    let probers: Value = serde_json::from_str(env(&injected, "ISTIO_KUBE_APP_PROBERS").unwrap()).unwrap();
    let expected = json!({
        "/app-health/reviews/livez": {"httpGet": {"path": "/live", "port": 9080, "scheme": "HTTPS"}, "timeoutSeconds": 7},
        "/app-health/reviews/readyz": {"tcpSocket": {"port": 9080}},
        "/app-health/second/readyz": {"grpc": {"port": 9000, "service": "s"}},
    });
    assert_eq!(probers, expected);
}

#[test]
fn probes_of_the_proxy_and_opted_out_pods_stay() {
    let mut pod = with_annotation("sidecar.istio.io/rewriteAppHTTPProbers", "false");
    pod["spec"]["containers"][0]["livenessProbe"] = json!({"httpGet": {"path": "/live", "port": 9080}});
    let injected = injected(&pod);
    assert_eq!(find(&injected, "containers", "reviews")["livenessProbe"]["httpGet"]["path"], "/live");
    let proxy = find(&injected, "initContainers", "istio-proxy");
    assert_eq!(proxy["readinessProbe"]["httpGet"], json!({"path": "/healthz/ready", "port": 15021}));
    assert_eq!(env(&injected, "ISTIO_KUBE_APP_PROBERS"), None);
}

#[test]
fn scraping_moves_to_the_agent_which_learns_where_it_was() {
    let mut pod = with_annotation("prometheus.io/scrape", "true");
    pod["metadata"]["annotations"]["prometheus.io/port"] = json!("9080");
    let merged = injected(&pod);
    let annotation = |name: &str| merged["metadata"]["annotations"][name].clone();
    assert_eq!(annotation("prometheus.io/port"), "15020");
    assert_eq!(annotation("prometheus.io/path"), "/stats/prometheus");
    assert_eq!(
        env(&merged, "ISTIO_PROMETHEUS_ANNOTATIONS"),
        Some(r#"{"scrape":"true","path":"","port":"9080"}"#)
    );
    let off = injected(&with_annotation("prometheus.io/scrape", "false"));
    assert_eq!(off["metadata"]["annotations"]["prometheus.io/port"], Value::Null);
    let own = injected(&with_annotation("prometheus.istio.io/merge-metrics", "false"));
    assert_eq!(own["metadata"]["annotations"]["prometheus.io/port"], Value::Null);
}
