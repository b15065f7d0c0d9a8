//! Environment of the proxy container: what the agent needs to know of its pod.

use serde_json::{Value, json};

use super::Frame;
use crate::annotations::names;
use crate::pod::name;

pub(super) fn all(frame: &Frame<'_>) -> Vec<Value> {
    let global = &frame.injector.values.global;
    let discovery =
        format!("istiod{}.{}.svc:15012", frame.injector.revision_suffix(), global.istio_namespace);
    let ca = if global.ca_address.is_empty() { discovery } else { global.ca_address.clone() };
    let mut env = Vec::new();
    if frame.injector.mesh.inbound_localhost {
        env.push(plain("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true"));
    }
    env.push(plain("PILOT_CERT_PROVIDER", &global.pilot_cert_provider));
    env.push(plain("CA_ADDR", &ca));
    env.extend(downward());
    env.push(plain("PROXY_CONFIG", &frame.config.to_text()));
    env.extend(metadata(frame));
    if frame.pod.annotation(names::BOOTSTRAP_OVERRIDE).is_some() {
        env.push(plain("ISTIO_BOOTSTRAP_OVERRIDE", "/etc/istio/custom-bootstrap/custom_bootstrap.json"));
    }
    env.extend(frame.config.metadata().into_iter().map(|(name, value)| plain(name, &value)));
    env
}

fn plain(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

fn resource(name: &str, resource: &str) -> Value {
    json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "0"}}})
}

fn downward() -> [Value; 6] {
    [
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        resource("ISTIO_CPU_LIMIT", "limits.cpu"),
    ]
}

/// The variables that become node metadata.
fn metadata(frame: &Frame<'_>) -> Vec<Value> {
    let global = &frame.injector.values.global;
    let apps: Vec<&str> = frame.app_containers().map(name).collect();
    let cluster = match (frame.context.cluster.as_deref(), global.multi_cluster.cluster_name.as_str()) {
        (Some(cluster), _) => cluster,
        (None, "") => "Kubernetes",
        (None, cluster) => cluster,
    };
    let network = frame.context.network.as_deref().unwrap_or(&global.network);
    let trust_domain = &frame.injector.mesh.trust_domain;
    let mesh_id = if global.mesh_id.is_empty() { trust_domain } else { &global.mesh_id };
    let mut env = vec![
        plain("ISTIO_META_POD_PORTS", &pod_ports(frame)),
        plain("ISTIO_META_APP_CONTAINERS", &apps.join(",")),
        plain("ISTIO_META_CLUSTER_ID", cluster),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        plain("ISTIO_META_INTERCEPTION_MODE", frame.config.interception_mode(frame.pod)),
    ];
    if !network.is_empty() {
        env.push(plain("ISTIO_META_NETWORK", network));
    }
    env.push(plain("ISTIO_META_WORKLOAD_NAME", &frame.workload.name));
    env.push(plain("ISTIO_META_OWNER", &frame.workload.owner_url(&frame.context.namespace)));
    env.push(plain("ISTIO_META_MESH_ID", mesh_id));
    env.push(plain("TRUST_DOMAIN", trust_domain));
    env
}

/// The ports that the application's containers declare, as the JSON list the proxy reports.
fn pod_ports(frame: &Frame<'_>) -> String {
    let ports: Vec<&Value> = frame
        .app_containers()
        .filter_map(|container| container.get("ports")?.as_array())
        .flatten()
        .filter(|port| port.get("containerPort").is_some())
        .collect();
    json!(ports).to_string()
}
