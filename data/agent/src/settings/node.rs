//! Who the proxy says it is: its node id, its cluster and its metadata.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meltemi_proto::node::{NodeId, NodeKind, NodeMetadata};
use meltemi_proto::version;
use serde_json::Value;

use super::{ProxyConfig, SettingsError};
use crate::cli::ProxyArgs;
use crate::environment::Environment;

pub(super) fn node_id(args: &ProxyArgs, env: &Environment) -> Result<NodeId, SettingsError> {
    let name = env.get("POD_NAME").ok_or(SettingsError::Missing("POD_NAME"))?;
    let namespace = env.get("POD_NAMESPACE").ok_or(SettingsError::Missing("POD_NAMESPACE"))?;
    let ip = match env.get("INSTANCE_IP") {
        Some(text) => text.split(',').next().unwrap_or_default().trim().parse().map_err(|_| {
            SettingsError::Value { name: "INSTANCE_IP", value: text.to_owned(), expected: "an address" }
        })?,
        None => IpAddr::from([127, 0, 0, 1]),
    };
    let dns_domain = match args.domain.as_str() {
        "" => format!("{namespace}.svc.cluster.local"),
        domain => domain.replace("$(POD_NAMESPACE)", namespace),
    };
    let kind = args.role;
    Ok(NodeId { kind, ip, name: name.to_owned(), namespace: namespace.to_owned(), dns_domain })
}

pub(super) fn service_cluster(args: &ProxyArgs, env: &Environment, node: &NodeId) -> String {
    if !args.service_cluster.is_empty() {
        return args.service_cluster.clone();
    }
    let canonical = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
    let label = canonical.iter().find_map(|name| env.labels.get(*name)).map(String::as_str);
    let name = label.or(env.get("ISTIO_META_WORKLOAD_NAME")).unwrap_or(match node.kind {
        NodeKind::Router => "istio-gateway",
        _ => "istio-proxy",
    });
    format!("{name}.{}", node.namespace)
}

/// Annotations that the control plane reads from the proxy.
const TOLD_ANNOTATIONS: [&str; 3] = ["istio.io/", "sidecar.istio.io/", "traffic.sidecar.istio.io/"];
/// Prefixes by which anything may be put into the metadata, text and JSON.
const META: &str = "ISTIO_META_";
const META_JSON: &str = "ISTIO_METAJSON_";

pub(super) fn metadata(
    env: &Environment,
    node: &NodeId,
    config: &ProxyConfig,
    service_account: &str,
) -> NodeMetadata {
    let mut extra: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in &env.vars {
        if let Some(key) = name.strip_prefix(META_JSON) {
            if let Ok(Value::Object(map)) = serde_json::from_str(value) {
                extra.insert(key.to_owned(), Value::Object(map.clone()));
                extra.extend(map);
            }
        } else if let Some(key) = name.strip_prefix(META) {
            extra.insert(key.to_owned(), Value::String(value.clone()));
        }
    }
    let mut take = |key: &str| match extra.remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let told = |name: &&String| TOLD_ANNOTATIONS.iter().any(|prefix| name.starts_with(prefix));
    NodeMetadata {
        name: node.name.clone(),
        namespace: node.namespace.clone(),
        labels: env.labels.clone(),
        annotations: env
            .annotations
            .iter()
            .filter(|(name, _)| told(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        owner: take("OWNER"),
        workload_name: take("WORKLOAD_NAME"),
        service_account: service_account.to_owned(),
        cluster_id: Some(take("CLUSTER_ID"))
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| "Kubernetes".to_owned()),
        network: take("NETWORK"),
        istio_version: version::ISTIO_COMPAT.to_owned(),
        istio_proxy_sha: format!("meltemi:{}", version::MELTEMI),
        mesh_id: take("MESH_ID"),
        istio_revision: env.labels.get("istio.io/rev").cloned().unwrap_or_default(),
        instance_ips: env.get("INSTANCE_IPS").map_or_else(|| node.ip.to_string(), str::to_owned),
        interception_mode: take("INTERCEPTION_MODE"),
        app_containers: take("APP_CONTAINERS"),
        pod_ports: take("POD_PORTS"),
        node_name: take("NODE_NAME"),
        proxy_config: Some(config.raw.clone()),
        dns_capture: take("DNS_CAPTURE"),
        pilot_san: take("PILOT_SAN"),
        platform_metadata: String::new(),
        extra,
    }
}
