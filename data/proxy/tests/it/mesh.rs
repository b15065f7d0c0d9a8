//! Two engines in a mesh: mutual TLS under xDS and SDS.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use meltemi_identity::authority::Authority;
use meltemi_identity::csr;
use meltemi_identity::spiffe::SpiffeId;
use meltemi_proto::type_url;
use meltemi_proxy::engine::Handle;

use crate::control::{Control, bootstrap};
use crate::harness::*;

const TTL: Duration = Duration::from_secs(3600);

/// A workload's secrets, as an agent serves them.
fn secrets(control: &Control, authority: &Authority, account: &str) {
    let id = SpiffeId::new("cluster.local", "default", account).unwrap();
    let (key, request) = csr::generate(&id).unwrap();
    let chain = authority.sign(&request, &id, TTL).unwrap();
    let text = |pem: &str| serde_json::to_string(pem).unwrap();
    control.set(
        type_url::SECRET,
        &format!(
            "{{ name: default, tls_certificate: {{ certificate_chain: {{ inline_string: {} }}, private_key: {{ inline_string: {} }} }} }}",
            text(&chain),
            text(&key)
        ),
    );
    trust(control, authority);
}

fn trust(control: &Control, authority: &Authority) {
    let root = serde_json::to_string(&authority.root_pem()).unwrap();
    control.set(
        type_url::SECRET,
        &format!("{{ name: ROOTCA, validation_context: {{ trusted_ca: {{ inline_string: {root} }} }} }}"),
    );
}

const SDS: &str = "sds_config: { api_config_source: { api_type: GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: sds-grpc } } ] }, resource_api_version: V3 }";

fn tls(kind: &str, more: &str, sans: &str) -> String {
    format!(
        r#"{{ name: envoy.transport_sockets.tls, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}, {more}
        common_tls_context: {{ alpn_protocols: [ istio-h2, istio, istio-peer-exchange ], tls_certificate_sds_secret_configs: [ {{ name: default, {SDS} }} ],
        combined_validation_context: {{ default_validation_context: {{ {sans} }}, validation_context_sds_secret_config: {{ name: ROOTCA, {SDS} }} }} }} }} }}"#
    )
}

fn server_side(control: &Control, app: SocketAddr) {
    control.set(type_url::CLUSTER, &cluster("app", app, ""));
    let web = listener(
        r#"{ match: { prefix: "/" }, route: { cluster: app } }"#,
        ", codec_type: HTTP2, forward_client_cert_details: SANITIZE_SET, set_current_client_cert_details: { uri: true }",
    );
    let socket = tls("DownstreamTlsContext", "require_client_certificate: true,", "");
    let inspector = r#"listener_filters: [ { name: tls, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } } ], filter_chains: [ { filter_chain_match: { transport_protocol: tls, application_protocols: [ istio ] }, transport_socket: "#;
    let web = web.replace("filter_chains: [ {", &format!("{inspector}{socket}, "));
    control.set(type_url::LISTENER, &web);
}

fn client_side(control: &Control, server: SocketAddr, account: &str) {
    let san = format!(
        "match_typed_subject_alt_names: [ {{ san_type: URI, matcher: {{ exact: spiffe://cluster.local/ns/default/sa/{account} }} }} ]"
    );
    let socket = tls("UpstreamTlsContext", "sni: outbound_.80_._.app.default.svc.cluster.local,", &san);
    control.set(
        type_url::CLUSTER,
        &format!(
            r#"{{ name: app, type: EDS, eds_cluster_config: {{ service_name: app-endpoints, eds_config: {{ ads: {{}}, resource_api_version: V3 }} }},
            transport_socket_matches: [ {{ name: mtls, match: {{ tlsMode: istio }}, transport_socket: {socket} }} ],
            typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
            "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{ http2_protocol_options: {{}} }} }} }} }}"#
        ),
    );
    control.set(
        type_url::ENDPOINT,
        &format!(
            "{{ cluster_name: app-endpoints, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}, \
             metadata: {{ filter_metadata: {{ envoy.transport_socket_match: {{ tlsMode: istio }}, istio: {{ workload: \"app-v1;default;app;v1;Kubernetes\" }} }} }} }} ] }} ] }}",
            server.ip(),
            server.port()
        ),
    );
    control.set(
        type_url::ROUTE,
        r#"{ name: "80", virtual_hosts: [ { name: app, domains: ["*"], routes: [ { match: { prefix: "/" }, route: { cluster: app } } ] } ] }"#,
    );
    control.set(
        type_url::LISTENER,
        &listener("", "").replace(
            r#"route_config: { name: r, virtual_hosts: [ { name: all, domains: ["*"], routes: [  ] } ] }"#,
            r#"rds: { route_config_name: "80", config_source: { ads: {}, resource_api_version: V3 } }"#,
        ),
    );
}

async fn engine(control: &Control, secrets: &Path, delta: bool) -> Handle {
    start(&bootstrap(control.serve().await, delta, Some(secrets))).await
}

struct Mesh {
    client: Control,
    client_secrets: Control,
    server: Handle,
    engine: Handle,
    authority: Authority,
    _folder: tempfile::TempDir,
}

async fn mesh(delta: bool) -> Mesh {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::self_signed("cluster.local", TTL).unwrap();
    let app = Upstream::echo().await;
    let start_one = async |account: &str, set: &dyn Fn(&Control)| {
        let (control, keys) = (Control::new(), Control::new());
        secrets(&keys, &authority, account);
        let socket = folder.path().join(account);
        keys.serve_secrets(&socket);
        set(&control);
        let handle = engine(&control, &socket, delta).await;
        (control, keys, handle)
    };
    let (_, _, server) = start_one("server", &|c| server_side(c, app.address)).await;
    let inbound = server.listener_address("web").unwrap();
    let (client, client_secrets, engine) = start_one("client", &|c| client_side(c, inbound, "server")).await;
    Mesh { client, client_secrets, server, engine, authority, _folder: folder }
}

impl Mesh {
    async fn get(&self) -> Seen {
        send(self.engine.listener_address("web").unwrap(), get("/hello")).await
    }

    /// Asks until the status is the expected one.
    async fn until(&self, status: u16) -> Seen {
        for _ in 0..250 {
            let seen = self.get().await;
            if seen.status == status {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{status} never came: {:?}", self.get().await);
    }
}

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    for delta in [false, true] {
        let mesh = mesh(delta).await;
        let seen = mesh.get().await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        let cert = seen.body.lines().find(|l| l.starts_with("x-forwarded-client-cert: ")).unwrap();
        assert!(cert.contains("By=spiffe://cluster.local/ns/default/sa/server;"), "{cert}");
        assert!(cert.contains("URI=spiffe://cluster.local/ns/default/sa/client"), "{cert}");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let mesh = mesh(false).await;
    let inbound = mesh.server.listener_address("web").unwrap();
    assert_eq!(talk(inbound, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
}

#[tokio::test]
async fn the_wrong_server_identity_is_refused() {
    let mesh = mesh(false).await;
    client_side(&mesh.client, mesh.server.listener_address("web").unwrap(), "somebody-else");
    let seen = mesh.until(503).await;
    assert!(seen.body.contains("TLS_error") && seen.body.contains("SAN matcher"), "{}", seen.body);
}

#[tokio::test]
async fn secrets_are_swapped_while_requests_run() {
    let mesh = mesh(false).await;
    assert_eq!(mesh.get().await.status, 200);
    // A root nobody here signs with: the next handshake must fail, because the old trust is gone.
    let stranger = Authority::self_signed("cluster.local", TTL).unwrap();
    trust(&mesh.client_secrets, &stranger);
    // A changed cluster opens connections of its own, and so meets the new trust.
    tokio::time::sleep(Duration::from_millis(200)).await;
    client_side(&mesh.client, mesh.server.listener_address("web").unwrap(), "server");
    mesh.client.set(type_url::CLUSTER, &retimed(&mesh));
    let seen = mesh.until(503).await;
    assert!(seen.body.contains("TLS_error"), "{}", seen.body);
    secrets(&mesh.client_secrets, &mesh.authority, "client");
    mesh.until(200).await;
}

/// The client's cluster with another connect time-out.
fn retimed(mesh: &Mesh) -> String {
    let control = Control::new();
    client_side(&control, mesh.server.listener_address("web").unwrap(), "server");
    control.text(type_url::CLUSTER, "app").replacen("{\"name\"", "{\"connectTimeout\":\"3s\",\"name\"", 1)
}
