//! What runs behind an address: a pod or a WorkloadEntry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::labels::Labels;

/// The label by which injection says that a pod accepts the mesh's mutual TLS.
pub const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// Where a workload runs, for locality load balancing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub sub_zone: String,
}

impl Locality {
    /// Reads `region/zone/subzone`; parts may be missing.
    pub fn parse(text: &str) -> Locality {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Locality { region: next(), zone: next(), sub_zone: next() }
    }

    /// The topology labels of a node.
    pub fn of_node(node: &Node) -> Locality {
        let empty = Labels::new();
        let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
        let get = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).cloned().unwrap_or_default();
        Locality {
            region: get(&["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]),
            zone: get(&["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]),
            sub_zone: get(&["topology.istio.io/subzone"]),
        }
    }
}

/// A pod or a WorkloadEntry.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The pod's or entry's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// True for a pod.
    pub pod: bool,
    /// Addresses: IPs of a pod; an IP, a host name or `unix://…` of an entry.
    pub addresses: Vec<String>,
    /// Labels.
    pub labels: Labels,
    /// Service account.
    pub service_account: String,
    /// The node it runs on.
    pub node: String,
    /// Locality set on the workload itself; else the node's is taken.
    pub locality: Option<Locality>,
    /// Network, for multi-network meshes.
    pub network: String,
    /// Load-balancing weight; 0 means unset.
    pub weight: u32,
    /// What users call the workload: the Deployment's name rather than the pod's.
    pub workload_name: String,
    /// The pod's host name and subdomain, for names of pods of headless services.
    pub hostname: Option<String>,
    /// Named ports of the containers, or of the entry.
    pub ports: BTreeMap<String, u16>,
    /// The pod uses the node's network.
    pub host_network: bool,
    /// Ready as Kubernetes sees it.
    pub ready: bool,
}

impl Workload {
    /// The addresses that are IPs.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().filter_map(|address| address.parse().ok())
    }

    /// Accepts the mesh's mutual TLS.
    pub fn speaks_mesh_tls(&self) -> bool {
        self.labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio")
    }

    /// Reads a pod. `None` when it has finished, so that its address may already be another's.
    pub fn of_pod(pod: &Pod) -> Option<Workload> {
        let status = pod.status.as_ref();
        let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or("");
        if phase == "Succeeded" || phase == "Failed" {
            return None;
        }
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref();
        let name = meta.name.clone().unwrap_or_default();
        let labels = meta.labels.clone().unwrap_or_default();
        let service_account = spec.and_then(|s| s.service_account_name.clone()).filter(|s| !s.is_empty());
        Some(Workload {
            namespace: meta.namespace.clone().unwrap_or_default(),
            pod: true,
            addresses: pod_addresses(pod),
            service_account: service_account.unwrap_or_else(|| "default".into()),
            node: spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
            locality: labels.get("istio-locality").map(|l| Locality::parse(&l.replace('.', "/"))),
            network: labels.get("topology.istio.io/network").cloned().unwrap_or_default(),
            weight: 0,
            workload_name: owner_name(pod, &name),
            hostname: spec
                .and_then(|s| s.hostname.clone())
                .filter(|_| spec.is_some_and(|s| s.subdomain.is_some())),
            ports: container_ports(pod),
            host_network: spec.and_then(|s| s.host_network).unwrap_or(false),
            ready: is_ready(pod),
            labels,
            name,
        })
    }
}

fn pod_addresses(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let mut ips: Vec<String> = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    if ips.is_empty() {
        ips.extend(status.pod_ip.clone());
    }
    ips.retain(|ip| !ip.is_empty());
    ips
}

fn container_ports(pod: &Pod) -> BTreeMap<String, u16> {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports.filter_map(|p| Some((p.name.clone()?, u16::try_from(p.container_port).ok()?))).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The controller's name; of a Deployment's ReplicaSet the Deployment's.
fn owner_name(pod: &Pod, pod_name: &str) -> String {
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|o| o.controller == Some(true)) else { return pod_name.into() };
    let hash = pod.metadata.labels.as_ref().and_then(|l| l.get("pod-template-hash"));
    match (owner.kind.as_str(), hash) {
        // Without the hash it is a ReplicaSet of somebody's own.
        ("ReplicaSet", Some(hash)) => {
            let suffix = format!("-{hash}");
            owner.name.strip_suffix(&suffix).unwrap_or(&owner.name).to_owned()
        }
        ("Job", _) => cron_job_name(&owner.name).unwrap_or(&owner.name).to_owned(),
        _ => owner.name.clone(),
    }
}

/// Jobs of a CronJob are called `<cron job>-<minutes since 1970>`.
fn cron_job_name(job: &str) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let looks_like_time = minutes.len() >= 8 && minutes.bytes().all(|b| b.is_ascii_digit());
    looks_like_time.then_some(name)
}
