//! Where the traffic of a service can go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::labels::Labels;
use crate::workload::{Locality, Workload};

pub mod slices;

/// How far an endpoint takes part in load balancing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Takes traffic.
    Ready,
    /// Still serves, but is going away: no new traffic.
    Draining,
    /// Takes no traffic yet, or no longer.
    NotReady,
}

/// One address of a service port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// IP, host name (`resolution: DNS`), or `unix:///path`.
    pub address: String,
    /// Port on the workload; 0 with a Unix socket.
    pub port: u16,
    /// Health.
    pub health: Health,
    /// The workload's labels, without the identity of the pod.
    pub labels: Arc<Labels>,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account; empty when unknown.
    pub service_account: String,
    /// What users call the workload; empty when unknown.
    pub workload_name: String,
    /// Where it runs.
    pub locality: Locality,
    /// Network, for multi-network meshes.
    pub network: String,
    /// Load-balancing weight; 0 means 1.
    pub weight: u32,
    /// Accepts the mesh's mutual TLS.
    pub mesh_tls: bool,
    /// Node, for node-local traffic.
    pub node: String,
    /// Host name within a headless service.
    pub hostname: Option<String>,
}

impl Endpoint {
    /// The endpoint at `address:port` where `workload` runs.
    pub fn of_workload(workload: &Workload, address: &str, port: u16, node: Locality) -> Endpoint {
        Endpoint {
            address: address.to_owned(),
            port,
            health: Health::Ready,
            labels: Arc::new(workload.labels.clone()),
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
            workload_name: workload.workload_name.clone(),
            locality: workload.locality.clone().unwrap_or(node),
            network: workload.network.clone(),
            weight: workload.weight,
            mesh_tls: workload.speaks_mesh_tls(),
            node: workload.node.clone(),
            hostname: workload.hostname.clone(),
        }
    }

    /// An endpoint of which nothing but its address is known.
    pub fn bare(address: &str, port: u16, namespace: &str) -> Endpoint {
        Endpoint {
            address: address.to_owned(),
            port,
            health: Health::Ready,
            labels: Arc::default(),
            namespace: namespace.to_owned(),
            service_account: String::new(),
            workload_name: String::new(),
            locality: Locality::default(),
            network: String::new(),
            weight: 0,
            mesh_tls: false,
            node: String::new(),
            hostname: None,
        }
    }
}

/// All endpoints of one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceEndpoints {
    /// By service port, each list sorted.
    pub by_port: BTreeMap<u16, Vec<Arc<Endpoint>>>,
    /// `(namespace, service account)` of every workload behind the service, ready or not.
    pub identities: BTreeSet<(String, String)>,
}

impl ServiceEndpoints {
    /// Endpoints of a service port.
    pub fn of_port(&self, port: u16) -> &[Arc<Endpoint>] {
        self.by_port.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Adds an endpoint and its identity.
    pub fn add(&mut self, port: u16, endpoint: Endpoint) {
        if !endpoint.service_account.is_empty() {
            self.identities.insert((endpoint.namespace.clone(), endpoint.service_account.clone()));
        }
        self.by_port.entry(port).or_default().push(Arc::new(endpoint));
    }

    /// Sorts and removes duplicates, so that equal sets of objects give equal endpoints.
    pub fn finish(mut self) -> Self {
        for list in self.by_port.values_mut() {
            list.sort();
            list.dedup_by(|a, b| a.address == b.address && a.port == b.port);
        }
        self
    }
}
