//! Both data planes under the same agent: our engine, and real Envoy where `MELTEMI_ENVOY` names a binary. Each in a
//! network namespace of its own, as the bootstrap's ports are fixed.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use meltemi_agent::data_plane::Starter;
use meltemi_agent::engine::InProcess;
use meltemi_agent::envoy::Envoy;
use meltemi_agent::http_client::{Answer, Target, send};
use meltemi_agent::net::Dial;
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::any::pack;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::core::v3::api_config_source::ApiType;
use meltemi_proto::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use meltemi_proto::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use meltemi_proto::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket, transport_socket,
};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
};

use support::{ID, Istiod};

/// Which data plane a process of this test runs: ours, or the program of this path.
const PLANE: &str = "MELTEMI_TEST_PLANE";
const ENGINE: &str = "engine";

/// A cluster that needs the workload's certificate.
fn mutual() -> Cluster {
    let envoy = EnvoyGrpc { cluster_name: "sds-grpc".into(), ..Default::default() };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let secret = SdsSecretConfig {
        name: "default".into(),
        sds_config: Some(ConfigSource {
            resource_api_version: ApiVersion::V3.into(),
            config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
            ..Default::default()
        }),
    };
    let tls = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![secret],
            ..Default::default()
        }),
        ..Default::default()
    };
    Cluster {
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.tls".into(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(pack(&tls))),
        }),
        ..support::named("outbound|80||b")
    }
}

/// This program again, in a namespace of its own, with this data plane.
fn scenario(plane: &str) {
    let output = Command::new("unshare")
        .args(["-Urn", "sh", "-c", "ip link set lo up && exec \"$0\" --exact inside --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(PLANE, plane)
        .output()
        .unwrap_or_else(|error| panic!("cannot run unshare: {error}; install util-linux"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("inside: done"), "{text}");
}

#[test]
fn our_engine() {
    if std::env::var_os(PLANE).is_none() {
        scenario(ENGINE);
    }
}

#[test]
fn real_envoy() {
    match std::env::var("MELTEMI_ENVOY") {
        Ok(program) if std::env::var_os(PLANE).is_none() => scenario(&program),
        _ => eprintln!("skipped: MELTEMI_ENVOY names no Envoy binary"),
    }
}

async fn ask(port: u16, path: &str) -> Option<Answer> {
    let target = Target { host: "127.0.0.1".into(), port, tls: false, dial: Dial::default() };
    let request = Request::get(path).header("host", "x").body(Bytes::new()).unwrap();
    send(&target, request, Duration::from_secs(5), 16 << 20).await.ok()
}

async fn until(port: u16, path: &str, fine: impl Fn(&Answer) -> bool) {
    let patience = Duration::from_secs(60);
    let attempt = async {
        while !ask(port, path).await.is_some_and(|answer| fine(&answer)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(patience, attempt).await.is_err() {
        panic!("{port}{path}: {:?}", ask(port, path).await);
    }
}

fn has(answer: &Answer, text: &str) -> bool {
    String::from_utf8_lossy(&answer.body).contains(text)
}

#[tokio::test]
async fn inside() {
    let Ok(plane) = std::env::var(PLANE) else { return };
    let starter: Arc<dyn Starter> =
        if plane == ENGINE { Arc::new(InProcess) } else { Arc::new(Envoy::new(Some(&plane))) };
    for delta in [true, false] {
        let istiod = Istiod::new(vec![mutual()]);
        let dir = tempfile::tempdir().unwrap();
        let mut settings = istiod.agent(dir.path()).await;
        settings.delta = delta;
        settings.proxy_log_level = "warning".into();
        let status = settings.status_port;
        let stop = Shutdown::new();
        let agent = tokio::spawn(meltemi_agent::proxy(settings, starter.clone(), stop.clone()));
        until(status, "/healthz/ready", |answer| answer.status == 200).await;
        until(15021, "/healthz/ready", |answer| answer.status == 200).await;
        until(15000, "/certs", |answer| has(answer, ID)).await;
        until(15090, "/stats/prometheus", |answer| has(answer, "envoy_server_live")).await;
        until(status, "/stats/prometheus", |answer| {
            has(answer, "envoy_server_live") && has(answer, "istio_agent_")
        })
        .await;

        // Changes arrive, also after the control plane's stream broke.
        istiod.clusters.send_replace(vec![mutual(), support::named("later")]);
        until(15000, "/clusters", |answer| has(answer, "later")).await;
        istiod.cut.send_modify(|cuts| *cuts += 1);
        istiod.clusters.send_replace(vec![support::named("last")]);
        until(15000, "/clusters", |answer| has(answer, "last") && !has(answer, "later")).await;
        stop.request();
        agent.await.unwrap().unwrap();
        while ask(15000, "/ready").await.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    println!("inside: done");
}
