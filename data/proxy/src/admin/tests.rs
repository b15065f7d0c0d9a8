use std::time::{Duration, UNIX_EPOCH};

use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::google::protobuf::Any;
use meltemi_proto::{json as proto_json, type_url};
use parking_lot::Mutex;
use serde_json::json;

use super::sources::{Failure, Phase, Resource};
use super::*;
use crate::telemetry::stats::{OwnedCounter, Settings};

#[derive(Default)]
struct Engine {
    resources: Vec<(String, Resource)>,
    acts: Mutex<Vec<&'static str>>,
    live: bool,
}

fn any<M: prost::Message + prost::Name + Default>(value: Value) -> Any {
    meltemi_proto::any::pack(&proto_json::from_json::<M>(&value).unwrap())
}

fn resource(name: &str, body: Any) -> Resource {
    Resource {
        name: name.into(),
        body: Some(body),
        version: "2026-11-20T10:00:00Z/7".into(),
        updated: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        is_static: false,
        phase: Phase::Active,
        failure: None,
    }
}

impl ConfigSource for Engine {
    fn bootstrap(&self) -> (Bootstrap, std::time::SystemTime) {
        let bootstrap =
            json!({"node": {"id": "sidecar~10.0.0.1~p.ns~ns.svc.cluster.local", "cluster": "p.ns"}});
        (proto_json::from_json(&bootstrap).unwrap(), UNIX_EPOCH)
    }

    fn resources(&self, type_url: &str) -> Vec<Resource> {
        self.resources
            .iter()
            .filter(|(known, _)| known == type_url)
            .map(|(_, resource)| resource.clone())
            .collect()
    }

    fn version(&self, _: &str) -> String {
        "7".to_owned()
    }
}

impl ClusterSource for Engine {
    fn clusters(&self) -> Vec<proto::ClusterStatus> {
        let status = json!({
            "name": "outbound|80||a.ns.svc.cluster.local", "added_via_api": true, "observability_name": "a",
            "circuit_breakers": {"thresholds": [{"max_connections": 7}]},
            "host_statuses": [{
                "address": {"socket_address": {"address": "10.0.0.9", "port_value": 80}}, "weight": 1,
                "stats": [{"name": "cx_active", "value": "2", "type": "GAUGE"}],
                "health_status": {"failed_outlier_check": true, "eds_health_status": "HEALTHY"},
                "locality": {"zone": "z1"},
            }],
        });
        vec![proto_json::from_json(&status).unwrap()]
    }
}

impl ListenerSource for Engine {
    fn listeners(&self) -> Vec<proto::ListenerStatus> {
        let status = json!({
            "name": "virtualInbound",
            "local_address": {"socket_address": {"address": "::", "port_value": 15006}},
        });
        vec![proto_json::from_json(&status).unwrap()]
    }

    fn drain(&self, graceful: bool, inbound_only: bool) {
        assert!(graceful && !inbound_only);
        self.acts.lock().push("drain");
    }
}

impl CertificateSource for Engine {
    fn certificates(&self) -> Vec<proto::Certificate> {
        let info = crate::telemetry::info::CertificateInfo {
            serial: "0a".into(),
            uri_sans: vec!["spiffe://cluster.local/ns/ns/sa/p".into()],
            validity: Some((UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(3 * 86_400))),
            ..Default::default()
        };
        vec![proto::Certificate {
            cert_chain: vec![certificate_details("<inline>", &info, UNIX_EPOCH)],
            ca_cert: vec![],
        }]
    }
}

impl Lifecycle for Engine {
    fn state(&self) -> proto::server_info::State {
        if self.live { proto::server_info::State::Live } else { proto::server_info::State::Initializing }
    }
    fn uptime(&self) -> Duration {
        Duration::from_secs(61)
    }
    fn concurrency(&self) -> u32 {
        2
    }
    fn drain_time(&self) -> Duration {
        Duration::from_secs(45)
    }
    fn set_healthy(&self, healthy: bool) {
        self.acts.lock().push(if healthy { "ok" } else { "fail" });
    }
    fn quit(&self) {
        self.acts.lock().push("quit");
    }
}

fn admin(engine: Engine) -> (Admin, Arc<Engine>, OwnedCounter) {
    let engine = Arc::new(engine);
    let stats = Registry::new(1, Settings::default());
    let counter = stats.counter("listener_manager.listener_added");
    counter.get().inc();
    let admin = Admin {
        config: engine.clone(),
        clusters: engine.clone(),
        listeners: engine.clone(),
        certificates: engine.clone(),
        lifecycle: engine.clone(),
        stats,
        sinks: Sinks::new(1),
    };
    (admin, engine, counter)
}

fn get(admin: &Admin, path: &str) -> Answer {
    admin.answer(&Method::GET, path)
}

fn json_of(admin: &Admin, path: &str) -> Value {
    let answer = get(admin, path);
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn only_post_changes_the_process() {
    let (admin, engine, _) = admin(Engine::default());
    for path in [
        "/quitquitquit",
        "/healthcheck/fail",
        "/healthcheck/ok",
        "/drain_listeners?graceful",
        "/reset_counters",
    ] {
        assert_eq!(get(&admin, path).status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(admin.answer(&Method::POST, path).body, "OK\n", "{path}");
    }
    assert_eq!(*engine.acts.lock(), ["quit", "fail", "ok", "drain"]);
    assert_eq!(admin.answer(&Method::PUT, "/stats").status, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn readiness_is_a_status() {
    let (waiting, ..) = admin(Engine::default());
    assert_eq!(get(&waiting, "/ready").status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&waiting, "/ready").body, "INITIALIZING\n");
    let (live, ..) = admin(Engine { live: true, ..Engine::default() });
    assert_eq!(get(&live, "/ready").body, "LIVE\n");
    let info = json_of(&live, "/server_info");
    assert_eq!(info["state"], "LIVE");
    assert_eq!(info["command_line_options"]["concurrency"], 2);
    assert_eq!(info["uptime_current_epoch"], "61s");
    assert_eq!(info["node"]["id"], "sidecar~10.0.0.1~p.ns~ns.svc.cluster.local");
}

#[test]
fn clusters_as_text_and_json() {
    let (admin, ..) = admin(Engine::default());
    let text = get(&admin, "/clusters").body;
    for line in [
        "outbound|80||a.ns.svc.cluster.local::observability_name::a",
        "outbound|80||a.ns.svc.cluster.local::default_priority::max_connections::7",
        "outbound|80||a.ns.svc.cluster.local::high_priority::max_retries::3",
        "outbound|80||a.ns.svc.cluster.local::added_via_api::true",
        "outbound|80||a.ns.svc.cluster.local::10.0.0.9:80::cx_active::2",
        "outbound|80||a.ns.svc.cluster.local::10.0.0.9:80::health_flags::/failed_outlier_check",
        "outbound|80||a.ns.svc.cluster.local::10.0.0.9:80::zone::z1",
        "outbound|80||a.ns.svc.cluster.local::10.0.0.9:80::success_rate::-1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    let json = json_of(&admin, "/clusters?format=json");
    assert_eq!(
        json["cluster_statuses"][0]["host_statuses"][0]["health_status"]["eds_health_status"],
        "HEALTHY"
    );
}

#[test]
fn listeners_certificates_and_statistics() {
    let (admin, _engine, _counter) = admin(Engine::default());
    assert_eq!(get(&admin, "/listeners").body, "virtualInbound::[::]:15006\n");
    assert_eq!(json_of(&admin, "/listeners?format=json")["listener_statuses"][0]["name"], "virtualInbound");
    let certificate = &json_of(&admin, "/certs")["certificates"][0]["cert_chain"][0];
    assert_eq!(certificate["days_until_expiration"], "3");
    assert_eq!(certificate["subject_alt_names"][0]["uri"], "spiffe://cluster.local/ns/ns/sa/p");
    assert_eq!(get(&admin, "/stats?usedonly&filter=listener").body, "listener_manager.listener_added: 1\n");
    assert!(get(&admin, "/stats/prometheus").body.contains("envoy_listener_manager_listener_added 1\n"));
    assert!(
        get(&admin, "/stats?filter=server.days").body.contains("server.days_until_first_cert_expiring: 3\n")
    );
    assert_eq!(get(&admin, "/stats?filter=(").status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&admin, "/stats?format=xml").status, StatusCode::BAD_REQUEST);
}

fn configured() -> Engine {
    let cluster = |name: &str| resource(name, any::<Cluster>(json!({"name": name, "connect_timeout": "1s"})));
    let mut rejected = cluster("bad");
    rejected.failure = Some(Failure {
        details: "lb_policy: is not supported".to_owned(),
        version: "8".into(),
        attempt: UNIX_EPOCH,
        body: None,
    });
    let mut warming = cluster("warming");
    warming.phase = Phase::Warming;
    let mut fixed = cluster("xds-grpc");
    fixed.is_static = true;
    type Secret = meltemi_proto::envoy::extensions::transport_sockets::tls::v3::Secret;
    let key =
        json!({"name": "default", "tls_certificate": {"private_key": {"inline_string": "very secret"}}});
    let secret = resource("default", any::<Secret>(key));
    let clusters = [cluster("good"), rejected, warming, fixed].map(|c| (type_url::CLUSTER.to_owned(), c));
    let resources = clusters.into_iter().chain([(type_url::SECRET.to_owned(), secret)]).collect();
    Engine { resources, ..Engine::default() }
}

#[test]
fn a_dump_has_envoys_sections() {
    let (admin, ..) = admin(configured());
    let dump = json_of(&admin, "/config_dump");
    let kinds: Vec<_> =
        dump["configs"].as_array().unwrap().iter().map(|c| c["@type"].as_str().unwrap()).collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.rsplit('.').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "BootstrapConfigDump",
            "ClustersConfigDump",
            "ListenersConfigDump",
            "RoutesConfigDump",
            "SecretsConfigDump"
        ]
    );
    let clusters = &dump["configs"][1];
    let good = json!({
        "version_info": "2026-11-20T10:00:00Z/7",
        "cluster": {"@type": type_url::CLUSTER, "name": "good", "connect_timeout": "1s"},
        "last_updated": "2023-11-14T22:13:20.123Z",
        "client_status": "ACKED",
    });
    assert_eq!(clusters["dynamic_active_clusters"][0], good);
    assert_eq!(
        clusters["dynamic_active_clusters"][1]["error_state"]["details"],
        "lb_policy: is not supported"
    );
    assert_eq!(clusters["dynamic_active_clusters"][1]["client_status"], "NACKED");
    assert_eq!(clusters["dynamic_warming_clusters"][0]["cluster"]["name"], "warming");
    assert_eq!(clusters["static_clusters"][0]["cluster"]["name"], "xds-grpc");
    assert!(!dump.to_string().contains("very secret"));
    assert!(dump.to_string().contains("[redacted]"));
}

#[test]
fn a_dump_can_be_narrowed() {
    let (admin, ..) = admin(configured());
    let items =
        json_of(&admin, "/config_dump?resource=dynamic_active_clusters&name_regex=oo&mask=cluster.name");
    assert_eq!(items["configs"], json!([]));
    let items =
        json_of(&admin, "/config_dump?resource=dynamic_active_clusters&name_regex=g.*&mask=cluster.name");
    let kind = "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster";
    assert_eq!(
        items["configs"],
        json!([{"@type": kind, "cluster": {"@type": type_url::CLUSTER, "name": "good"}}])
    );
    let all = json_of(&admin, "/config_dump?include_eds");
    assert_eq!(all["configs"][2]["@type"], "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump");
    let wrong = get(&admin, "/config_dump?resource=cluster");
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.body.contains("dynamic_active_clusters"));
}

#[test]
fn every_path_is_listed_and_unknown_ones_are_helped() {
    let (admin, ..) = admin(Engine::default());
    let (help, page) = (get(&admin, "/help").body, get(&admin, "/").body);
    for (path, ..) in PATHS.iter().skip(1) {
        assert!(help.contains(path) && page.contains(path), "{path}");
        let method = Method::POST;
        let answer = admin.answer(&method, &format!("{path}?graceful"));
        assert_ne!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let unknown = get(&admin, "/config");
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.body.contains("/config_dump"));
}

#[tokio::test]
async fn it_speaks_http() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (admin, ..) = admin(Engine { live: true, ..Engine::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, admin, async move { drop(stopped.await) }));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("LIVE\n"), "{answer}");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
