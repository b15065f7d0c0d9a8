//! Under a control plane that is not ours: a small one of grpcio, in both variants of the protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::client;
use super::proxy::{PLANES, Plane, Proxy};
use super::upstream::Upstream;

/// The control plane.
struct Control {
    child: Child,
    commands: ChildStdin,
    told: Receiver<Value>,
    port: u64,
}

impl Control {
    fn start() -> Self {
        let modules = std::env::var("MELTEMI_PYTHON_GRPC").unwrap_or_default();
        assert!(
            Path::new(&modules).join("grpc").is_dir(),
            "MELTEMI_PYTHON_GRPC={modules:?} has no grpc: run `make python-grpc` and set it to .tools/python-grpc (`make test` does both)"
        );
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy/ads_server.py"))
            .env("PYTHONPATH", modules)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut control = Self { child, commands, told, port: 0 };
        control.port = control.hears(|told| told["port"].is_u64())["port"].as_u64().unwrap();
        control
    }

    fn command(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap();
    }

    fn set(&mut self, kind: &str, version: &str, resources: &Value) {
        self.command(&json!({"set": kind, "version": version, "resources": resources}));
    }

    /// Sets a type and waits for the proxy's verdict, which it gives.
    fn push(&mut self, kind: &str, version: &str, resources: &Value) -> Value {
        self.set(kind, version, resources);
        self.hears(|told| told["type"] == kind && told["of"] == version && told["ack"].is_boolean())
    }

    fn accepted(&mut self, kind: &str, version: &str, resources: &Value) {
        let verdict = self.push(kind, version, resources);
        assert_eq!(verdict["ack"], true, "{kind} {version}: {verdict}");
    }

    fn refused(&mut self, kind: &str, version: &str, resources: &Value) -> String {
        let verdict = self.push(kind, version, resources);
        assert_eq!(verdict["ack"], false, "{kind} {version}: {verdict}");
        verdict["error"].as_str().unwrap().to_owned()
    }

    /// The next thing that it tells of that kind.
    fn hears(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let told =
                self.told.recv_timeout(Duration::from_secs(60)).expect("the control plane is told nothing");
            if wanted(&told) {
                return told;
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bootstrap(port: u64, delta: bool) -> String {
    let api = if delta { "DELTA_GRPC" } else { "GRPC" };
    format!(
        r#"
node: {{ id: front, cluster: shop }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
dynamic_resources:
  ads_config:
    api_type: {api}
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{{ envoy_grpc: {{ cluster_name: control }} }}]
  cds_config: {{ resource_api_version: V3, ads: {{}} }}
  lds_config: {{ resource_api_version: V3, ads: {{}} }}
static_resources:
  clusters:
  - name: control
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: control
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]
"#
    )
}

fn cluster(name: &str) -> Value {
    json!({"name": name, "type": "EDS", "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": {"resource_api_version": "V3", "ads": {}}}})
}

fn endpoints(name: &str, upstream: &Upstream) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": upstream.address.port()}});
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]})
}

fn listener(name: &str, routes: &str) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "rds": {"route_config_name": routes, "config_source": {"resource_api_version": "V3", "ads": {}}},
        "http_filters": [{"name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]})
}

fn routes(name: &str, routes: &Value) -> Value {
    json!({"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]})
}

fn to(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})
}

/// Asks until the body begins as wanted.
fn becomes(proxy: &mut Proxy, address: &str, path: &str, wanted: &str) {
    proxy.eventually(|_| {
        let answer = client::request(address, "GET", path, &[]).ok()?;
        answer.body.starts_with(wanted).then_some(())
    });
}

fn a_life_under(plane: Plane, delta: bool) {
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let mut control = Control::start();
    control.set("clusters", "c1", &json!([cluster("shop"), cluster("other")]));
    control.set("endpoints", "e1", &json!([endpoints("shop", &one), endpoints("other", &two)]));
    control.set("listeners", "l1", &json!([listener("web", "rules")]));
    control.set("routes", "r1", &json!([routes("rules", &json!([to("/", "shop")]))]));
    let mut proxy = Proxy::start(plane, &bootstrap(control.port, delta));
    let first = control.hears(|told| told["type"].is_string());
    assert_eq!(
        (&first["node"], &first["delta"], &first["type"]),
        (&json!("front"), &json!(delta), &json!("clusters"))
    );
    // By name, and both in the end: a client may ask for them one after the other.
    let mut asked = std::collections::BTreeSet::new();
    while asked.len() < 2 {
        let names = control.hears(|told| told["type"] == "endpoints")["names"].clone();
        asked.extend(names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
    }
    assert_eq!(control.hears(|told| told["type"] == "routes")["names"], json!(["rules"]));
    let web = proxy.eventually(|proxy| proxy.listener("web"));
    becomes(&mut proxy, &web, "/", "one");

    control.accepted("endpoints", "e2", &json!([endpoints("shop", &two), endpoints("other", &two)]));
    becomes(&mut proxy, &web, "/", "two");
    let hello = json!({"match": {"path": "/hello"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}});
    let rules = json!([routes("rules", &json!([hello, to("/", "shop")]))]);
    control.accepted("routes", "r2", &rules);
    becomes(&mut proxy, &web, "/hello", "hello");

    // What cannot be used is refused with its name, and what was there before stays.
    let broken = json!({"match": {"safe_regex": {"regex": "("}}, "route": {"cluster": "shop"}});
    control.refused("routes", "r3", &json!([routes("rules", &json!([broken]))]));
    let mut bad = cluster("bad");
    bad["connect_timeout"] = json!("-1s");
    let error = control.refused("clusters", "c2", &json!([cluster("shop"), cluster("other"), bad]));
    assert!(!error.is_empty(), "{plane:?}");
    let mut nowhere = listener("more", "rules");
    nowhere["address"]["socket_address"]["address"] = json!("no address");
    let error = control.refused("listeners", "l2", &json!([listener("web", "rules"), nowhere]));
    assert!(error.contains("more"), "{plane:?}: {error}");
    becomes(&mut proxy, &web, "/hello", "hello");
    becomes(&mut proxy, &web, "/", "two");
    control.accepted("clusters", "c3", &json!([cluster("shop"), cluster("other")]));
    control.accepted("listeners", "l3", &json!([listener("web", "rules")]));
    control.accepted(
        "routes",
        "r4",
        &json!([routes("rules", &json!([hello, to("/one", "other"), to("/", "shop")]))]),
    );

    // A broken stream is opened again; the proxy serves on, and says what it has.
    control.command(&json!({"end": true}));
    becomes(&mut proxy, &web, "/hello", "hello");
    let again = control.hears(|told| told["stream"] == 2);
    assert_eq!((&again["node"], &again["ack"]), (&json!("front"), &Value::Null));
    if delta {
        assert_eq!(again["has"], json!({"shop": "c3", "other": "c3"}), "{plane:?}: {again}");
    } else {
        assert_eq!(again["version"], "c3", "{plane:?}: {again}");
    }
    control.set("endpoints", "e3", &json!([endpoints("shop", &one), endpoints("other", &two)]));
    becomes(&mut proxy, &web, "/", "one");

    // What is gone is gone: the listener closes, the cluster has no hosts.
    control.set("clusters", "c4", &json!([cluster("shop")]));
    proxy.eventually(|proxy| {
        let answer = client::request(&web, "GET", "/one", &[]).ok()?;
        (answer.status == 503 && proxy.stat("cluster_manager.active_clusters") == Some(2)).then_some(())
    });
    control.set("listeners", "l4", &json!([]));
    proxy.eventually(|proxy| proxy.listener("web").is_none().then_some(()));
    assert!(proxy.stat("cluster_manager.cds.update_rejected") >= Some(1), "{plane:?}");
    assert!(proxy.stat("listener_manager.lds.update_rejected") >= Some(1), "{plane:?}");
    assert_eq!(proxy.stat("control_plane.connected_state"), Some(1), "{plane:?}");
}

#[test]
fn a_life_under_a_foreign_control_plane() {
    PLANES.iter().for_each(|plane| a_life_under(*plane, false));
}

#[test]
fn a_life_under_a_foreign_control_plane_incrementally() {
    PLANES.iter().for_each(|plane| a_life_under(*plane, true));
}
