//! EndpointSlices joined with the pods they point to.

use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointConditions, EndpointSlice};

use super::{Endpoint, Health, ServiceEndpoints};
use crate::service::{Port, Service};
use crate::workload::{Locality, Workload};

/// The label that names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What a slice says of one address.
struct Entry<'a> {
    address: &'a str,
    port: u16,
    health: Health,
    slice: &'a SliceEndpoint,
    namespace: &'a str,
}

/// Finds what runs behind an address: by pod name first (two pods of a node may share an address), then by IP.
pub trait Pods {
    /// The pod of that namespace and name.
    fn pod(&self, namespace: &str, name: &str) -> Option<&Workload>;
    /// The workload at that address.
    fn at(&self, address: &str) -> Option<&Workload>;
    /// The locality of a node.
    fn locality(&self, node: &str) -> Locality;
}

/// The endpoints that `slices` give `service`.
pub fn join<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    pods: &impl Pods,
) -> ServiceEndpoints {
    let mut all = ServiceEndpoints::default();
    for slice in slices {
        let namespace = slice.metadata.namespace.as_deref().unwrap_or("");
        for (port, target) in ports(service, slice) {
            for endpoint in slice.endpoints.iter().flatten() {
                let health = health(endpoint.conditions.as_ref());
                for address in &endpoint.addresses {
                    let entry = Entry { address, port: target, health, slice: endpoint, namespace };
                    all.add(port.number, resolve(&entry, pods));
                }
            }
        }
    }
    all.finish()
}

/// Pairs the service's ports with the slice's, by name.
fn ports<'a>(service: &'a Service, slice: &EndpointSlice) -> Vec<(&'a Port, u16)> {
    let ports = slice.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let name = port.name.as_deref().unwrap_or("");
            let target = u16::try_from(port.port?).ok()?;
            Some((service.ports.iter().find(|p| p.name == name)?, target))
        })
        .collect()
}

fn health(conditions: Option<&EndpointConditions>) -> Health {
    // Absent means ready, as the API says.
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving, terminating) {
        (true, _, _) => Health::Ready,
        (false, true, true) => Health::Draining,
        _ => Health::NotReady,
    }
}

fn resolve(entry: &Entry<'_>, pods: &impl Pods) -> Endpoint {
    let node = entry.slice.node_name.as_deref().unwrap_or("");
    let mut locality = pods.locality(node);
    if locality.zone.is_empty() {
        locality.zone = entry.slice.zone.clone().unwrap_or_default();
    }
    let target = entry.slice.target_ref.as_ref().filter(|t| t.kind.as_deref() == Some("Pod"));
    let pod = target.and_then(|t| {
        pods.pod(t.namespace.as_deref().unwrap_or(entry.namespace), t.name.as_deref().unwrap_or(""))
    });
    let mut endpoint = match pod.or_else(|| pods.at(entry.address)) {
        Some(workload) => Endpoint::of_workload(workload, entry.address, entry.port, locality),
        None => Endpoint { locality, ..Endpoint::bare(entry.address, entry.port, entry.namespace) },
    };
    if endpoint.node.is_empty() {
        endpoint.node = node.to_owned();
    }
    endpoint.health = entry.health;
    endpoint.hostname = entry.slice.hostname.clone().or(endpoint.hostname);
    endpoint
}
