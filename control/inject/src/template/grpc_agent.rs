//! The template `grpc-agent`: gRPC in the application is its own proxy; the agent beside it brings certificates and
//! passes its configuration on. Nothing is redirected.

use serde_json::{Value, json};

use super::{Frame, container, resources, sidecar, volumes};
use crate::annotations::names;
use crate::pod::{canonical_service, name};

/// The volume in which the agent leaves gRPC's bootstrap and its socket.
const SHARED: &str = "istio-xds";
/// Where it is mounted, in both.
const CONFIG: &str = "/etc/istio/proxy";
/// Where the agent writes certificates, mounted in both.
const DATA: &str = "/var/lib/istio/data";

pub(super) fn render(frame: &Frame<'_>) -> Value {
    let (canonical, revision) = canonical_service(frame.pod, &frame.workload);
    let mut annotations = sidecar::annotations(frame);
    // The kubelet reaches the application's ports directly.
    annotations.insert(names::REWRITE_PROBES.to_owned(), json!("false"));
    let mut containers = vec![agent(frame)];
    containers.extend(frame.app_containers().map(|app| application(name(app))));
    let volumes: Vec<Value> = volumes::all(frame).into_iter().map(shared).collect();
    let mut spec = json!({"containers": containers, "volumes": volumes});
    let secrets = &frame.injector.values.global.image_pull_secrets;
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = secrets.iter().map(|name| json!({"name": name})).collect();
    }
    // Whether the application's gRPC was set up for the mesh's TLS only its owner knows: the label `tlsMode` is theirs.
    let labels = json!({names::CANONICAL_NAME: canonical, names::CANONICAL_REVISION: revision});
    json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})
}

/// A volume or mount of the proxy, under the name that the application knows it by.
fn shared(mut volume: Value) -> Value {
    if volume["name"] == "istio-envoy" {
        volume["name"] = json!(SHARED);
    }
    volume
}

fn agent(frame: &Frame<'_>) -> Value {
    let status_port = frame.status_port();
    let mut agent = container::base(frame, "sidecar");
    agent["ports"] = json!([{"containerPort": status_port, "name": "mesh-metrics", "protocol": "TCP"}]);
    let mut env = vec![
        json!({"name": "ISTIO_META_GENERATOR", "value": "grpc"}),
        json!({"name": "OUTPUT_CERTS", "value": DATA}),
        json!({"name": "DISABLE_ENVOY", "value": "true"}),
    ];
    env.extend(agent["env"].as_array().into_iter().flatten().cloned());
    agent["env"] = json!(env);
    let mounts: Vec<Value> = volumes::mounts(frame).into_iter().map(shared).collect();
    agent["volumeMounts"] = json!(mounts);
    agent["resources"] = resources::proxy(frame);
    // The application is started after this hook: its bootstrap and its certificates are there by then.
    let ready = format!("--url=http://localhost:{status_port}/healthz/ready");
    agent["lifecycle"] = json!({"postStart": {"exec": {"command": ["pilot-agent", "wait", ready]}}});
    agent["readinessProbe"] = super::probe::readiness(frame);
    agent["readinessProbe"]["httpGet"]["port"] = json!(status_port);
    agent["securityContext"] = container::security(frame);
    agent
}

/// What an application's container gets.
fn application(name: &str) -> Value {
    json!({
        "name": name,
        "env": [
            {"name": "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "value": "true"},
            {"name": "GRPC_XDS_BOOTSTRAP", "value": format!("{CONFIG}/grpc-bootstrap.json")},
        ],
        "volumeMounts": [
            {"name": "istio-data", "mountPath": DATA},
            {"name": SHARED, "mountPath": CONFIG},
        ],
    })
}
