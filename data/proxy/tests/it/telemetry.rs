//! Two sidecars with mutual TLS between them: what both say of one request in metrics, logs and the admin interface.

use std::net::SocketAddr;
use std::time::Duration;

use meltemi_identity::authority::Authority;
use meltemi_identity::csr;
use meltemi_proxy::engine::Handle;
use serde_json::{Value, json};

use crate::harness::*;

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const HOST: &str = "reviews.default.svc.cluster.local";

/// Certificates of two workloads under one root.
struct Mesh {
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Mesh {
    fn new() -> Self {
        let authority = Authority::self_signed("cluster.local", Duration::from_secs(86_400)).unwrap();
        Mesh { authority, dir: tempfile::tempdir().unwrap() }
    }

    /// The common part of a TLS context of a workload.
    fn tls(&self, workload: &str) -> Value {
        let id = format!("spiffe://cluster.local/ns/default/sa/{workload}").parse().unwrap();
        let (key, request) = csr::generate(&id).unwrap();
        let chain = self.authority.sign(&request, &id, Duration::from_secs(3600)).unwrap();
        json!({
            "tls_certificates": [{"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}],
            "validation_context": {
                "trusted_ca": {"inline_string": self.authority.root_pem()},
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}],
            },
        })
    }

    fn log(&self, workload: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(workload)).unwrap_or_default()
    }

    /// A sidecar of a workload with one listener and one cluster.
    fn sidecar(&self, workload: &str, direction: &str, upstream: SocketAddr) -> Value {
        let inbound = direction == "INBOUND";
        let (discovery, propagation) =
            if inbound { ("downstream", "downstream") } else { ("upstream", "upstream") };
        let headers = json!([{"istio_headers": {"skip_external_clusters": true}}]);
        let peers = json!({
            "@type": "type.googleapis.com/io.istio.http.peer_metadata.Config",
            format!("{discovery}_discovery"): headers, format!("{propagation}_propagation"): headers,
        });
        let stats = json!({"@type": "type.googleapis.com/stats.PluginConfig", "disable_host_header_fallback": inbound});
        let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
        let filters: Vec<Value> =
            [("istio.metadata_exchange", peers), ("istio.stats", stats), ("router", router)]
                .map(|(name, config)| json!({"name": name, "typed_config": config}))
                .into();
        let log = json!({
            "name": "log",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": self.dir.path().join(workload),
                "log_format": {"text_format_source": {"inline_string":
                    "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_CLUSTER_RAW% %DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_PEER_URI_SAN%\n"}},
            },
        });
        let hcm = json!({
            "@type": HCM, "stat_prefix": direction, "http_filters": filters, "access_log": [log],
            "route_config": {"name": "9080", "virtual_hosts": [
                {"name": HOST, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "the-one"}}]},
            ]},
        });
        let mut chain = json!({"filters": [{"name": "http", "typed_config": hcm}]});
        let mut cluster = json!({
            "name": "the-one", "type": "STATIC", "connect_timeout": "2s",
            "metadata": {"filter_metadata": {"istio": {"services": [{"host": HOST, "name": "reviews", "namespace": "default"}]}}},
            "load_assignment": {"cluster_name": "the-one", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                "socket_address": {"address": upstream.ip().to_string(), "port_value": upstream.port()}}}}]}]},
        });
        let socket = |kind: &str, more: Value| {
            let mut config = json!({
                "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"),
                "common_tls_context": self.tls(workload),
            });
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
        };
        match inbound {
            true => {
                chain["transport_socket"] =
                    socket("DownstreamTlsContext", json!({"require_client_certificate": true}))
            }
            false => cluster["transport_socket"] = socket("UpstreamTlsContext", json!({"sni": HOST})),
        }
        let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        json!({
            "node": {"id": "sidecar~10.0.0.1~p.default~default.svc.cluster.local", "metadata": {
                "NAMESPACE": "default", "WORKLOAD_NAME": format!("{workload}-v1"), "CLUSTER_ID": "Kubernetes",
                "ISTIO_VERSION": "1.30.0", "LABELS": {"app": workload, "version": "v1"},
            }},
            "admin": {"address": any_port},
            "static_resources": {
                "listeners": [{"name": "web", "traffic_direction": direction, "address": any_port, "filter_chains": [chain]}],
                "clusters": [cluster],
            },
        })
    }
}

async fn admin(engine: &Handle, path: &str) -> String {
    let seen = send(engine.admin_address().unwrap(), get(path)).await;
    assert_eq!(seen.status, 200, "{path}: {}", seen.body);
    seen.body
}

/// The labels of the only series of a metric, as Prometheus sees them.
async fn labels(engine: &Handle, metric: &str) -> (Vec<(String, String)>, String) {
    let all = admin(engine, "/stats/prometheus").await;
    let series: Vec<&str> = all.lines().filter(|line| line.starts_with(&format!("{metric}{{"))).collect();
    assert_eq!(series.len(), 1, "{metric} in\n{all}");
    let (_, rest) = series[0].split_once('{').unwrap();
    let (labels, value) = rest.split_once("} ").unwrap();
    let pairs = labels.split(',').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    (pairs.collect(), value.to_owned())
}

fn assert_labels(found: &[(String, String)], expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let actual = found.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(actual, Some(*value), "{name} in {found:?}");
    }
}

/// Waits until a log has a line; the writer gathers lines for a moment.
async fn first_line(mesh: &Mesh, workload: &str) -> String {
    for _ in 0..200 {
        if let Some((line, _)) = mesh.log(workload).split_once('\n') {
            return line.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no line in the log of {workload}");
}

#[tokio::test]
async fn both_sides_of_a_request_tell_the_same_story() {
    let mesh = Mesh::new();
    let app = Upstream::echo().await;
    let reviews = start(&mesh.sidecar("reviews", "INBOUND", app.address).to_string()).await;
    let inbound = reviews.listener_address("web").unwrap();
    let productpage = start(&mesh.sidecar("productpage", "OUTBOUND", inbound).to_string()).await;
    for _ in 0..3 {
        let seen = send(productpage.listener_address("web").unwrap(), get("/reviews/0")).await;
        assert_eq!(seen.status, 200);
        assert!(
            !seen.body.contains("x-envoy-peer-metadata"),
            "the application must not see it: {}",
            seen.body
        );
        assert!(seen.header("x-envoy-peer-metadata").is_none());
    }
    let both = [
        ("source_workload", "productpage-v1"),
        ("source_canonical_service", "productpage"),
        ("source_principal", "spiffe://cluster.local/ns/default/sa/productpage"),
        ("source_cluster", "Kubernetes"),
        ("destination_workload", "reviews-v1"),
        ("destination_workload_namespace", "default"),
        ("destination_principal", "spiffe://cluster.local/ns/default/sa/reviews"),
        ("destination_service", HOST),
        ("destination_service_name", "reviews"),
        ("destination_version", "v1"),
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("response_flags", "-"),
    ];
    for (engine, reporter, policy) in
        [(&productpage, "source", "unknown"), (&reviews, "destination", "mutual_tls")]
    {
        let (found, value) = labels(engine, "istio_requests_total").await;
        assert_eq!(value, "3");
        assert_eq!(found.len(), 25);
        assert_labels(&found, &both);
        assert_labels(&found, &[("reporter", reporter), ("connection_security_policy", policy)]);
        let (_, count) = labels(engine, "istio_request_duration_milliseconds_count").await;
        assert_eq!(count, "3");
        let (_, bytes) = labels(engine, "istio_response_bytes_sum").await;
        assert!(bytes.parse::<u64>().unwrap() > 300, "{bytes}");
    }
    assert_eq!(
        first_line(&mesh, "productpage").await,
        "GET 200 - via_upstream the-one - spiffe://cluster.local/ns/default/sa/reviews"
    );
    assert_eq!(
        first_line(&mesh, "reviews").await,
        "GET 200 - via_upstream the-one spiffe://cluster.local/ns/default/sa/productpage -"
    );
}

#[tokio::test]
async fn the_admin_interface_shows_what_runs_and_no_key() {
    let mesh = Mesh::new();
    let app = Upstream::echo().await;
    let engine = start(&mesh.sidecar("reviews", "INBOUND", app.address).to_string()).await;
    assert_eq!(admin(&engine, "/ready").await, "LIVE\n");
    let dump = admin(&engine, "/config_dump?include_eds").await;
    assert!(!dump.contains("PRIVATE KEY"));
    let dump: Value = serde_json::from_str(&dump).unwrap();
    let sections = dump["configs"].as_array().unwrap();
    let section =
        |kind: &str| sections.iter().find(|s| s["@type"].as_str().unwrap().ends_with(kind)).unwrap();
    assert_eq!(section("ListenersConfigDump")["static_listeners"][0]["listener"]["name"], "web");
    assert_eq!(section("ClustersConfigDump")["static_clusters"][0]["cluster"]["name"], "the-one");
    let address = engine.listener_address("web").unwrap();
    assert!(admin(&engine, "/listeners").await.contains(&format!("web::{address}")));
    let clusters = admin(&engine, "/clusters").await;
    assert!(clusters.contains(&format!("the-one::{}::health_flags::healthy", app.address)), "{clusters}");
    let stats = admin(&engine, "/stats?filter=listener").await;
    assert!(stats.contains("downstream_cx_active"), "{stats}");
}

#[tokio::test]
async fn strangers_learn_nothing_of_us() {
    let mesh = Mesh::new();
    let app = Upstream::echo().await;
    for (external, told) in [(false, true), (true, false)] {
        let mut bootstrap = mesh.sidecar("productpage", "OUTBOUND", app.address);
        let cluster = &mut bootstrap["static_resources"]["clusters"][0];
        cluster.as_object_mut().unwrap().remove("transport_socket");
        cluster["metadata"]["filter_metadata"]["istio"]["external"] = json!(external);
        let engine = start(&bootstrap.to_string()).await;
        let seen = send(engine.listener_address("web").unwrap(), get("/")).await;
        assert_eq!(seen.body.contains("x-envoy-peer-metadata"), told, "{}", seen.body);
    }
}

#[tokio::test]
async fn a_failure_is_flagged_in_metric_and_log() {
    let mesh = Mesh::new();
    let engine = start(&mesh.sidecar("productpage", "OUTBOUND", closed_port().await).to_string()).await;
    assert_eq!(send(engine.listener_address("web").unwrap(), get("/")).await.status, 503);
    let (found, _) = labels(&engine, "istio_requests_total").await;
    assert_labels(
        &found,
        &[
            ("response_code", "503"),
            ("destination_service", HOST),
            ("destination_workload", "unknown"),
            ("destination_principal", "unknown"),
        ],
    );
    let flags = &found.iter().find(|(name, _)| name == "response_flags").unwrap().1;
    assert!(flags.starts_with("UF"), "{flags}");
    assert!(first_line(&mesh, "productpage").await.starts_with("GET 503 UF"));
}
