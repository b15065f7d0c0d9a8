//! gRPC's own xDS clients and servers (Python's `grpcio`), unmodified, on our control plane.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use meltemi_identity::{SpiffeId, csr};
use meltemi_proto::type_url::{CLUSTER, ENDPOINT, LISTENER, ROUTE};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Mesh, virtual_service};

/// Where the calls go.
const TARGET: &str = "xds:///echo.default.svc.cluster.local:7070";

/// A program in Python, spoken to line by line.
struct Program {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _files: tempfile::TempDir,
}

impl Program {
    /// Starts a script with a bootstrap that leads it to `mesh` as the pod `name` of the service account of that name.
    fn start(mesh: &Mesh, name: &str, script: &str, args: &[&str]) -> Self {
        let modules = std::env::var("MELTEMI_PYTHON_GRPC").unwrap_or_default();
        assert!(
            Path::new(&modules).join("grpc").is_dir(),
            "MELTEMI_PYTHON_GRPC={modules:?} has no grpc: run `make python-grpc` and set it to .tools/python-grpc (`make test` does both)"
        );
        let files = tempfile::tempdir().unwrap();
        let bootstrap = files.path().join("bootstrap.json");
        std::fs::write(&bootstrap, bootstrap_for(mesh, name, files.path()).to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/grpc").join(script);
        let mut child = Command::new("python3")
            .arg(script)
            .args(args)
            .env("PYTHONPATH", modules)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("GRPC_XDS_BOOTSTRAP", bootstrap)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, stdin, stdout, _files: files }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(60), self.stdout.next_line());
        line.await.expect("the program says nothing").unwrap().expect("the program ended")
    }
}

/// The bootstrap as the agent writes it: certificates in files, the control plane in plain text on the loopback.
fn bootstrap_for(mesh: &Mesh, name: &str, files: &Path) -> Value {
    let id = SpiffeId::new("cluster.local", "default", name).unwrap();
    let (key, request) = csr::generate(&id).unwrap();
    let chain = mesh.authority.sign(&request, &id, Duration::from_secs(600)).unwrap();
    let write = |file: &str, text: &str| {
        let path = files.join(file);
        std::fs::write(&path, text).unwrap();
        path
    };
    json!({
        "xds_servers": [{
            "server_uri": mesh.plain.to_string(),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": format!("sidecar~10.244.9.9~{name}.default~default.svc.cluster.local"),
            "locality": {},
            "metadata": {
                "GENERATOR": "grpc",
                "NAMESPACE": "default",
                "SERVICE_ACCOUNT": name,
                "LABELS": {"app": name},
            },
        },
        "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": {
            "certificate_file": write("cert-chain.pem", &chain),
            "private_key_file": write("key.pem", &key),
            "ca_certificate_file": write("root-cert.pem", &mesh.authority.root_pem()),
            "refresh_interval": "900s",
        }}},
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s",
    })
}

async fn server(mesh: &Mesh, name: &str, address: SocketAddr, how: &[&str]) -> Program {
    let address = address.to_string();
    let args = [&[name, &address], how].concat();
    let mut program = Program::start(mesh, "echo", "server.py", &args);
    assert_eq!(program.line().await, "started");
    program
}

fn client(mesh: &Mesh) -> Program {
    Program::start(mesh, "client", "client.py", &[TARGET])
}

impl Program {
    /// Makes calls with a header; how often each answer came.
    async fn calls(&mut self, count: u32, header: &str) -> BTreeMap<String, u32> {
        self.stdin.write_all(format!("{count} {header}\n").as_bytes()).await.unwrap();
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Calls until the answers are `wanted`: changes take a moment to get there.
    async fn becomes(&mut self, header: &str, wanted: &[&str]) {
        let mut last = BTreeMap::new();
        for _ in 0..60 {
            last = self.calls(20, header).await;
            if last.keys().eq(wanted.iter()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("expected {wanted:?}, got {last:?}");
    }
}

/// A port that is free on every address of the loopback, as far as one can know.
fn free_port() -> u16 {
    std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// The service `echo` with a pod for each address, of the versions v1, v2, …
fn echo(port: u16, addresses: &[&str]) -> String {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.7", "selector": {"app": "echo"},
            "ports": [{"name": "grpc", "port": 7070, "targetPort": port}]}}),
    ];
    let mut endpoints = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let (name, version) = (format!("echo-{index}"), format!("v{}", index + 1));
        all.push(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "echo", "version": version}},
            "spec": {"serviceAccountName": "echo", "containers": [{"name": "app", "image": "echo"}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}));
        endpoints.push(json!({"addresses": [address], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": name, "namespace": "default"}}));
    }
    all.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "echo-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "echo"}},
        "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}], "endpoints": endpoints}));
    all.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn destination_rule(spec: Value) -> String {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "echo", "namespace": "default"}, "spec": spec})
    .to_string()
}

fn peer_authentication(mode: &str) -> String {
    json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "default"}, "spec": {"mtls": {"mode": mode}}})
    .to_string()
}

/// Nobody refused anything.
fn assert_no_rejects(mesh: &Mesh) {
    for connection in mesh.hub.connections.list() {
        for (type_url, state) in connection.types() {
            assert_eq!(state.error, "", "{} of {}", type_url, connection.proxy_name());
        }
    }
}

#[tokio::test]
async fn grpc_clients_are_balanced_and_routed() {
    let port = free_port();
    let addresses = ["127.0.1.1", "127.0.1.2"];
    let mesh = Mesh::start(&echo(port, &addresses)).await;
    let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port);
    let _v1 = server(&mesh, "v1", at(addresses[0]), &[]).await;
    let _v2 = server(&mesh, "v2", at(addresses[1]), &[]).await;
    let mut client = client(&mesh);
    client.becomes("", &["v1", "v2"]).await;

    let subset = |name: &str| json!({"name": name, "labels": {"version": name}});
    mesh.apply(&destination_rule(json!({"host": "echo", "subsets": [subset("v1"), subset("v2")]})));
    let to = |subset: &str| json!({"destination": {"host": "echo", "subset": subset}});
    let tester = json!({"match": [{"headers": {"x-user": {"exact": "tester"}}}], "route": [to("v2")]});
    mesh.apply(&virtual_service("echo", json!({"hosts": ["echo"], "http": [tester, {"route": [to("v1")]}]})));
    client.becomes("", &["v1"]).await;
    client.becomes("x-user=tester", &["v2"]).await;

    let share = |subset: &str, weight: u32| json!({"destination": {"host": "echo", "subset": subset}, "weight": weight});
    let split = json!({"hosts": ["echo"], "http": [{"route": [share("v1", 80), share("v2", 20)]}]});
    mesh.apply(&virtual_service("echo", split));
    client.becomes("x-user=tester", &["v1", "v2"]).await;
    let answers = client.calls(400, "").await;
    // Four standard deviations around 80.
    assert!((48..=112).contains(&answers["v2"]), "{answers:?}");

    let abort = json!({"abort": {"httpStatus": 404, "percentage": {"value": 100}}});
    let cors = json!({"allowOrigins": [{"exact": "*"}]});
    let faulty =
        json!({"hosts": ["echo"], "http": [{"fault": abort, "corsPolicy": cors, "route": [to("v1")]}]});
    mesh.apply(&virtual_service("echo", faulty));
    client.becomes("", &["UNIMPLEMENTED"]).await;

    mesh.delete(&virtual_service("echo", json!({"hosts": ["echo"]})));
    mesh.apply(&echo(port, &addresses[..1]));
    client.becomes("", &["v1"]).await;
    let connection = mesh.hub.connections.find("client.default").unwrap();
    let types = connection.types();
    let held: Vec<&str> = types.keys().map(String::as_str).collect();
    assert_eq!(held, [CLUSTER, ENDPOINT, LISTENER, ROUTE]);
    assert_no_rejects(&mesh);
}

#[tokio::test]
async fn grpc_clients_and_servers_have_mutual_tls() {
    let port = free_port();
    let mesh = Mesh::start(&echo(port, &["127.0.1.3"])).await;
    mesh.apply(&peer_authentication("STRICT"));
    let at = SocketAddr::new("127.0.1.3".parse().unwrap(), port);
    let _server = server(&mesh, "v1", at, &["xds"]).await;
    let mut client = client(&mesh);
    // The client uses TLS only where it is told to, as gRPC has no way to see that a server wants it.
    client.becomes("", &["UNAVAILABLE"]).await;
    let mutual = |names: &[&str]| {
        let tls = json!({"mode": "ISTIO_MUTUAL", "subjectAltNames": names});
        destination_rule(json!({"host": "echo", "trafficPolicy": {"tls": tls}}))
    };
    mesh.apply(&mutual(&[]));
    client.becomes("", &["v1 spiffe://cluster.local/ns/default/sa/client"]).await;
    // A server of another identity is not trusted.
    mesh.apply(&mutual(&["spiffe://cluster.local/ns/default/sa/other"]));
    client.becomes("", &["UNAVAILABLE"]).await;
    mesh.apply(&peer_authentication("DISABLE"));
    mesh.delete(&mutual(&[]));
    client.becomes("", &["v1"]).await;
    assert_no_rejects(&mesh);
}
