//! Meshes for tests: YAML in, snapshot and views out.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod cases;

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::mesh_config::MeshConfig;
use meltemi_config::{AnyObject, parse};
use meltemi_mesh::{Change, ProxyIdentity, ProxyKind, ProxyView, Settings, Snapshot, World};
use serde::Deserialize as _;
use serde_json::Value;

/// Istio's own filters, as a proxy that has them reports them.
pub const ISTIO_EXTENSIONS: [&str; 4] =
    ["istio.peer_metadata", "envoy.filters.network.metadata_exchange", "istio.alpn", "istio.stats"];

/// The documents of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    let read = |document| Value::deserialize(document).expect("YAML");
    yaml_serde::Deserializer::from_str(text).map(read).filter(|v| !v.is_null()).collect()
}

/// The objects of a YAML text; documents of kind MeshConfig are left out.
pub fn objects(text: &str) -> Vec<AnyObject> {
    let all = documents(text).into_iter().filter(|v| v["kind"] != "MeshConfig");
    all.map(|v| parse::parse(&v).unwrap_or_else(|e| panic!("{}: {e:?}", v["metadata"]["name"]))).collect()
}

/// Settings, from a document of kind MeshConfig if there is one.
pub fn settings(text: &str) -> Settings {
    let own = documents(text).into_iter().find(|v| v["kind"] == "MeshConfig");
    let mesh = own.map(|v| serde_json::from_value(v["spec"].clone()).expect("MeshConfig"));
    Settings::new(mesh.unwrap_or_else(MeshConfig::default))
}

/// A world with all objects of a text.
pub fn world(text: &str) -> World {
    let mut world = World::new(settings(text));
    for object in objects(text) {
        world.apply(Change::Upsert(object));
    }
    world
}

/// The proxy of a pod.
pub fn identity(snapshot: &Snapshot, kind: ProxyKind, namespace: &str, pod: &str) -> ProxyIdentity {
    let workload = snapshot.pods.get(namespace, pod).unwrap_or_else(|| panic!("no pod {namespace}/{pod}"));
    ProxyIdentity {
        kind,
        name: pod.to_owned(),
        namespace: namespace.to_owned(),
        ips: workload.ips().collect(),
        labels: workload.labels.clone(),
        service_account: workload.service_account.clone(),
        metadata: Default::default(),
        extensions: BTreeSet::new(),
    }
}

/// The view of a pod's proxy.
pub fn view(snapshot: &Arc<Snapshot>, kind: ProxyKind, namespace: &str, pod: &str) -> ProxyView {
    ProxyView::of(snapshot, &identity(snapshot, kind, namespace, pod))
}
