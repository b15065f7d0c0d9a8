//! The one node: registered at the start, kept alive by its Lease.

use meltemi_apiserver::api::VERSION;
use meltemi_apiserver::kubernetes::KUBELET_PORT;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::net::NODE_IP;

const MANAGER: &str = "kubelet";
/// How often the Lease is renewed, as kubelets do.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Cores and memory (bytes) of this machine.
pub fn machine() -> (u64, u64) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    (cores, total.unwrap_or(0_u64) * 1024)
}

/// The node's labels, which pods' `nodeSelector` is held against.
pub fn labels(name: &str) -> BTreeMap<String, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
        ("node-role.kubernetes.io/control-plane", ""),
        ("topology.kubernetes.io/region", "local"),
        ("topology.kubernetes.io/zone", "local"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Writes the Node object, ready.
///
/// # Errors
/// When the API server refuses it.
pub async fn register(client: &Client, name: &str) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let network = crate::net::pod_cidr().to_string();
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels(name)},
        "spec": {"podCIDR": network, "podCIDRs": [network], "providerID": format!("meltemi://{name}")},
    });
    nodes.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&node)).await?;
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status(name) })))
        .await?;
    Ok(())
}

fn status(name: &str) -> serde_json::Value {
    let (cores, memory) = machine();
    let resources =
        json!({"cpu": cores.to_string(), "memory": format!("{}Ki", memory / 1024), "pods": "250"});
    let now = Timestamp::now();
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": name}],
        "conditions": [
            condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": node_info(),
    })
}

fn node_info() -> serde_json::Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = read("/etc/os-release");
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"');
    json!({
        "architecture": labels("").remove("kubernetes.io/arch"),
        "bootID": read("/proc/sys/kernel/random/boot_id"),
        "machineID": read("/etc/machine-id"),
        "systemUUID": read("/etc/machine-id"),
        "kernelVersion": read("/proc/sys/kernel/osrelease"),
        "osImage": name,
        "operatingSystem": "linux",
        "containerRuntimeVersion": concat!("meltemi://", env!("CARGO_PKG_VERSION")),
        "kubeletVersion": VERSION,
        "kubeProxyVersion": VERSION,
    })
}

/// Renews the node's Lease until the task is dropped.
pub async fn heartbeat(client: Client, name: String) {
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client, "kube-node-lease");
    loop {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now_micros()},
        });
        if let Err(error) =
            leases.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&lease)).await
        {
            tracing::debug!(%error, "the node's lease was not renewed");
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// Now, with the six digits that a MicroTime has.
fn now_micros() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
