use serde_json::json;

use super::{difference, sync};
use crate::verbs::proxy_config::dump::Dump;

fn proxies() -> Vec<sync::Proxy> {
    let syncz = json!([
        {
            "cluster_id": "Kubernetes", "proxy": "productpage-v1-1.default", "istio_version": "1.30.0",
            "cluster_sent": "a", "cluster_acked": "a", "listener_sent": "b", "listener_acked": "a",
            "route_sent": "c", "endpoint_sent": "d", "endpoint_acked": "d",
            "errors": {"ENDPOINT": {"nonce": "x", "error": "unrelated name of a type"}},
        },
        {
            "cluster_id": "Kubernetes", "proxy": "ratings-v1-1.default", "istio_version": "1.30.0",
            "cluster_sent": "a", "cluster_acked": "0", "errors": {"CDS": {"nonce": "a", "error": "lb_policy: no"}},
        },
    ]);
    sync::read(&syncz, "istiod-1")
}

#[test]
fn states_are_told_apart() {
    let expected = "\
NAME                         CLUSTER        CDS        LDS          EDS          RDS                            ECDS         ISTIOD       VERSION
productpage-v1-1.default     Kubernetes     SYNCED     STALE        SYNCED       STALE (Never Acknowledged)     NOT SENT     istiod-1     1.30.0
ratings-v1-1.default         Kubernetes     NACKED     NOT SENT     NOT SENT     NOT SENT                       NOT SENT     istiod-1     1.30.0
";
    let proxies = proxies();
    assert_eq!(sync::table(&proxies, false).render(false), expected);
    assert!(
        sync::refusals(&proxies)
            .contains("ratings-v1-1.default refused CDS and keeps what it had: lb_policy: no")
    );
    assert!(proxies.iter().all(|proxy| !proxy.in_sync()));
    assert_eq!(sync::value(&proxies)[1]["status"]["CDS"], "NACKED");
}

fn dump(clusters: serde_json::Value) -> Dump {
    let section = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": clusters,
        "static_clusters": [{"cluster": {"name": "xds-grpc"}}],
    });
    Dump::parse(&json!({"configs": [section]}).to_string()).unwrap()
}

#[test]
fn only_what_differs_is_shown() {
    let cluster = |name: &str, timeout: &str| json!({"cluster": {"name": name, "connect_timeout": timeout}});
    let expected = dump(json!([cluster("a", "1s"), cluster("b", "1s")]));
    assert!(difference::report(&expected, &dump(json!([cluster("b", "1.0s"), cluster("a", "1s")]))).none);
    let report = difference::report(&expected, &dump(json!([cluster("a", "2s"), cluster("b", "1s")])));
    assert!(!report.none);
    assert!(report.text.contains("Clusters Don't Match\n--- istiod a\n+++ proxy a\n"), "{}", report.text);
    assert!(report.text.contains("+  \"connectTimeout\": \"2s\""), "{}", report.text);
    assert!(report.text.contains("Listeners Match\nRoutes Match\n"), "{}", report.text);
    assert!(!report.text.contains("istiod b"));
}
