use std::collections::BTreeMap;

use http::HeaderMap;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use serde_json::json;

use super::*;
use crate::base::address::Address;
use crate::base::head::RequestHead;
use crate::telemetry::flags::Flags;
use crate::telemetry::info::{CertificateInfo, ClusterTags, ConnectionInfo, Protocol, TlsInfo};
use crate::telemetry::stats::group::Value;
use crate::telemetry::stats::{Registry, Settings};

const PRODUCTPAGE: &str = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage";
const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";

fn node(workload: &str, app: &str, version: &str) -> Node {
    let metadata = json!({
        "NAMESPACE": "default", "WORKLOAD_NAME": workload, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.30.0",
        "LABELS": {"app": app, "version": version},
    });
    Node { metadata: Some(structs::from_map(metadata.as_object().unwrap())), ..Node::default() }
}

fn address(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

fn tls(peer: &str, local: &str) -> Option<Arc<TlsInfo>> {
    let certificate = |name: &str| {
        Some(Arc::new(CertificateInfo { uri_sans: vec![name.into()], ..CertificateInfo::default() }))
    };
    Some(Arc::new(TlsInfo { peer: certificate(peer), local: certificate(local), ..TlsInfo::default() }))
}

fn reviews() -> Arc<ClusterTags> {
    let cluster = json!({
        "name": "outbound|9080||reviews.default.svc.cluster.local",
        "metadata": {"filter_metadata": {"istio": {"services": [
            {"host": "reviews.default.svc.cluster.local", "name": "reviews", "namespace": "default"},
        ]}}},
    });
    Arc::new(ClusterTags::compile(&meltemi_proto::json::from_json::<Cluster>(&cluster).unwrap()))
}

fn stats(
    config: serde_json::Value,
    direction: TrafficDirection,
    node: &Node,
) -> (IstioStats, Registry, Vec<String>) {
    let registry = Registry::new(1, Settings::default());
    let store = SeriesStore::new(registry.clone(), SeriesStore::LIMIT);
    let config = meltemi_proto::json::from_json(&config).unwrap();
    let (stats, reports) = IstioStats::compile(&config, direction, node, &store);
    (stats, registry, reports)
}

/// The labels and value of the only series of a metric.
fn only(registry: &Registry, metric: &str) -> (BTreeMap<String, String>, Value) {
    let mut found: Vec<_> = registry.samples().into_iter().filter(|s| s.extracted.name == metric).collect();
    assert_eq!(found.len(), 1, "{metric}");
    let sample = found.remove(0);
    let labels = sample.extracted.tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    (labels, sample.value)
}

fn text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn request(connection: ConnectionInfo) -> RequestInfo {
    let mut info = RequestInfo::new(Arc::new(connection), Some(Protocol::Http11));
    info.response_code = Some(200);
    info.timings.response_end = Some(info.start + std::time::Duration::from_millis(12));
    info.bytes.wire_received = 700;
    info.bytes.wire_sent = 900;
    info
}

fn head(authority: &str) -> RequestHead {
    RequestHead { authority: authority.to_owned(), path: "/reviews/0".to_owned(), ..RequestHead::default() }
}

#[test]
fn the_source_names_both_sides() {
    let (stats, registry, reports) =
        stats(json!({}), TrafficDirection::Outbound, &node("productpage-v1", "productpage", "v1"));
    assert!(reports.is_empty());
    let mut info = request(ConnectionInfo::new(1, address("10.96.0.9:9080"), address("10.244.0.5:4000")));
    info.upstream.cluster = Some(reviews());
    info.upstream.tls = tls(REVIEWS, PRODUCTPAGE);
    let peer = Peer {
        app: "reviews".into(),
        version: "v2".into(),
        ..Peer::of_endpoint("reviews-v2;default;reviews;v2;Kubernetes")
    };
    info.upstream.peer = Some(Arc::new(peer));
    let head = head("reviews:9080");
    let context = LogContext { info: &info, request: Some(&head), response: None, trailers: None };
    stats.record(&context);
    stats.record(&context);
    let (labels, value) = only(&registry, "istio_requests_total");
    assert_eq!(value, Value::Counter(2));
    let expected = "\
connection_security_policy=unknown
destination_app=reviews
destination_canonical_revision=v2
destination_canonical_service=reviews
destination_cluster=Kubernetes
destination_principal=spiffe://cluster.local/ns/default/sa/bookinfo-reviews
destination_service=reviews.default.svc.cluster.local
destination_service_name=reviews
destination_service_namespace=default
destination_version=v2
destination_workload=reviews-v2
destination_workload_namespace=default
grpc_response_status=
reporter=source
request_protocol=http
response_code=200
response_flags=-
source_app=productpage
source_canonical_revision=v1
source_canonical_service=productpage
source_cluster=Kubernetes
source_principal=spiffe://cluster.local/ns/default/sa/bookinfo-productpage
source_version=v1
source_workload=productpage-v1
source_workload_namespace=default
";
    assert_eq!(text(&labels), expected);
    let (_, Value::Histogram(bytes)) = only(&registry, "istio_response_bytes") else {
        panic!("not a histogram")
    };
    assert_eq!((bytes.count(), bytes.sum), (2, 1800));
    let (_, Value::Histogram(duration)) = only(&registry, "istio_request_duration_milliseconds") else {
        panic!()
    };
    assert_eq!(duration.sum, 24);
    assert_eq!(only(&registry, "istio_build").0.get("tag").map(String::as_str), Some("1.30.0"));
}

#[test]
fn the_destination_knows_the_policy_and_trusts_the_certificates_namespace() {
    let (stats, registry, _) = stats(
        json!({"disable_host_header_fallback": true}),
        TrafficDirection::Inbound,
        &node("reviews-v2", "reviews", "v2"),
    );
    let mut connection = ConnectionInfo::new(1, address("10.244.0.9:9080"), address("10.244.0.5:4000"));
    connection.tls = tls(PRODUCTPAGE, REVIEWS);
    let mut info = request(connection);
    info.downstream_peer = Some(Arc::new(Peer { namespace: "elsewhere".into(), ..Peer::default() }));
    info.upstream.cluster = Some(reviews());
    let head = head("reviews:9080");
    stats.record(&LogContext { info: &info, request: Some(&head), response: None, trailers: None });
    let (labels, _) = only(&registry, "istio_requests_total");
    for (name, value) in [
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
        ("source_principal", PRODUCTPAGE),
        ("destination_principal", REVIEWS),
        ("source_workload", "unknown"),
        ("source_canonical_revision", "latest"),
        ("source_workload_namespace", "default"),
        ("destination_workload", "reviews-v2"),
        ("destination_service", "reviews.default.svc.cluster.local"),
    ] {
        assert_eq!(labels.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn plaintext_from_outside_is_none_and_unknown() {
    let (stats, registry, _) = stats(
        json!({"disable_host_header_fallback": true}),
        TrafficDirection::Inbound,
        &node("reviews-v2", "reviews", "v2"),
    );
    let info = request(ConnectionInfo::new(1, address("10.244.0.9:9080"), address("10.244.0.5:4000")));
    let head = head("made-up-by-client");
    stats.record(&LogContext { info: &info, request: Some(&head), response: None, trailers: None });
    let (labels, _) = only(&registry, "istio_requests_total");
    assert_eq!(labels["connection_security_policy"], "none");
    assert_eq!(labels["source_principal"], "unknown");
    assert_eq!(labels["destination_service"], "reviews");
}

#[test]
fn passthrough_and_black_hole_have_names() {
    let (stats, registry, _) =
        stats(json!({}), TrafficDirection::Outbound, &node("productpage-v1", "productpage", "v1"));
    let head = head("example.com");
    for (route, cluster) in [(None, Some("PassthroughCluster")), (Some("block_all"), None)] {
        let mut info =
            request(ConnectionInfo::new(1, address("93.184.216.34:80"), address("10.244.0.5:4000")));
        info.route = route.map(Into::into);
        info.upstream.cluster =
            cluster.map(|name: &str| Arc::new(ClusterTags { name: name.into(), ..ClusterTags::default() }));
        info.flags.set(if route.is_some() { Flags::NO_ROUTE_FOUND } else { Flags::NONE });
        stats.record(&LogContext { info: &info, request: Some(&head), response: None, trailers: None });
    }
    let mut names: Vec<String> = Vec::new();
    for sample in registry.samples().iter().filter(|s| s.extracted.name == "istio_requests_total") {
        let label =
            |name: &str| sample.extracted.tags.iter().find(|(k, _)| &**k == name).unwrap().1.to_string();
        names.push(format!(
            "{} {} {}",
            label("destination_service_name"),
            label("destination_service"),
            label("response_flags")
        ));
    }
    names.sort();
    assert_eq!(names, ["BlackHoleCluster example.com NR", "PassthroughCluster example.com -"]);
}

#[test]
fn grpc_has_its_status_and_messages() {
    let (stats, registry, _) = stats(json!({}), TrafficDirection::Outbound, &node("a", "a", "v1"));
    let mut info = request(ConnectionInfo::new(1, address("10.96.0.9:80"), address("10.244.0.5:4000")));
    info.grpc = true;
    info.grpc_messages = (1, 5);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let context = LogContext { info: &info, request: None, response: None, trailers: Some(&trailers) };
    stats.record(&context);
    let (labels, _) = only(&registry, "istio_requests_total");
    assert_eq!((&*labels["grpc_response_status"], &*labels["request_protocol"]), ("0", "grpc"));
    let (labels, value) = only(&registry, "istio_response_messages_total");
    assert_eq!(value, Value::Counter(5));
    assert!(!labels.contains_key("response_code"));
}

#[test]
fn tcp_counts_what_is_new_each_time() {
    let (stats, registry, _) = stats(json!({}), TrafficDirection::Outbound, &node("a", "a", "v1"));
    let mut info = RequestInfo::new(
        Arc::new(ConnectionInfo::new(1, address("10.96.0.9:6379"), address("10.244.0.5:4000"))),
        None,
    );
    info.upstream.cluster = Some(reviews());
    let mut report = TcpReport::default();
    info.bytes.sent = 10;
    report.progress(&stats, &info);
    info.bytes.sent = 30;
    info.bytes.received = 5;
    report.progress(&stats, &info);
    assert_eq!(only(&registry, "istio_tcp_connections_closed_total").1, Value::Counter(0));
    report.close(&stats, &info);
    let (labels, value) = only(&registry, "istio_tcp_sent_bytes_total");
    assert_eq!(value, Value::Counter(30));
    assert_eq!(labels["request_protocol"], "tcp");
    assert!(!labels.contains_key("response_code") && !labels.contains_key("grpc_response_status"));
    assert_eq!(only(&registry, "istio_tcp_received_bytes_total").1, Value::Counter(5));
    assert_eq!(only(&registry, "istio_tcp_connections_opened_total").1, Value::Counter(1));
    assert_eq!(only(&registry, "istio_tcp_connections_closed_total").1, Value::Counter(1));
}

#[test]
fn overrides_are_applied_or_reported() {
    let config = json!({"metrics": [
        {"name": "requests_total", "tags_to_remove": ["source_app"], "dimensions": {"host": "request.host", "odd": "a + b"}},
        {"name": "request_bytes", "drop": true},
        {"name": "nonsense"},
        {"dimensions": {"destination_version": "'pinned'"}},
    ]});
    let (stats, registry, reports) = stats(config, TrafficDirection::Outbound, &node("a", "a", "v1"));
    let info = request(ConnectionInfo::new(1, address("10.96.0.9:80"), address("10.244.0.5:4000")));
    let head = head("shop.example");
    stats.record(&LogContext { info: &info, request: Some(&head), response: None, trailers: None });
    let (labels, _) = only(&registry, "istio_requests_total");
    assert!(!labels.contains_key("source_app"));
    assert_eq!((&*labels["host"], &*labels["odd"]), ("shop.example", "unknown"));
    assert_eq!(labels["destination_version"], "pinned");
    assert!(only(&registry, "istio_response_bytes").0.contains_key("source_app"));
    assert!(registry.samples().iter().all(|s| s.extracted.name != "istio_request_bytes"));
    assert_eq!(reports.len(), 2, "{reports:?}");
}

#[test]
fn too_many_label_sets_end_in_other() {
    let registry = Registry::new(1, Settings::default());
    let store = SeriesStore::new(registry.clone(), 8);
    let (stats, _) = IstioStats::compile(
        &proto::PluginConfig::default(),
        TrafficDirection::Outbound,
        &node("a", "a", "v1"),
        &store,
    );
    let info = request(ConnectionInfo::new(1, address("10.96.0.9:80"), address("10.244.0.5:4000")));
    for i in 0..1000 {
        let head = head(&format!("host-{i}"));
        stats.record(&LogContext { info: &info, request: Some(&head), response: None, trailers: None });
    }
    let samples = registry.samples();
    assert!(samples.len() <= 8 + METRICS.len() + 1, "{}", samples.len());
    let total: u64 = samples
        .iter()
        .filter(|s| s.extracted.name == "istio_requests_total")
        .map(|s| if let Value::Counter(n) = s.value { n } else { 0 })
        .sum();
    assert_eq!(total, 1000);
}

#[test]
fn clients_that_call_themselves_by_many_names_end_in_other() {
    let registry = Registry::new(1, Settings::default());
    let store = SeriesStore::new(registry.clone(), 8);
    let config = proto::PluginConfig::default();
    let (stats, _) = IstioStats::compile(&config, TrafficDirection::Inbound, &node("a", "a", "v1"), &store);
    for i in 0..1000 {
        let mut info = request(ConnectionInfo::new(1, address("10.96.0.9:80"), address("10.244.0.5:4000")));
        let workload = format!("w-{i}").into();
        info.downstream_peer = Some(Arc::new(Peer { workload, ..Peer::default() }));
        let head = head("shop.example");
        stats.record(&LogContext { info: &info, request: Some(&head), response: None, trailers: None });
    }
    let samples = registry.samples().len();
    assert!(samples <= 8 + METRICS.len() + 1, "{samples}");
}
