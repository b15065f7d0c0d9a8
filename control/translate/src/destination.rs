//! From a destination as a VirtualService writes it to the name of a cluster.

use meltemi_config::istio::virtual_service::Destination;
use meltemi_mesh::{ProxyView, Snapshot, host};

use crate::names;

/// Where a destination is written and where the client connected: both complete what it leaves out.
#[derive(Debug, Clone, Copy)]
pub struct From<'a> {
    /// Namespace of the VirtualService.
    pub namespace: &'a str,
    /// Port that the client dialled.
    pub port: u16,
}

/// The cluster of a destination. A host that nobody has gives a name all the same: the proxy answers requests for a
/// cluster that it lacks with 503 and the flag `NC`, and the object's status says what is missing.
pub fn cluster(snapshot: &Snapshot, view: &ProxyView, destination: &Destination, from: From<'_>) -> String {
    let hostname = host::resolve(&destination.host, from.namespace, &snapshot.settings.domain);
    let service = view.destination(&hostname);
    let asked = destination.port.as_ref().and_then(|p| u16::try_from(p.number).ok()).filter(|p| *p != 0);
    let only = service.and_then(|s| if let [port] = s.ports.as_slice() { Some(port.number) } else { None });
    let port = asked.or(only).unwrap_or(from.port);
    let hostname = service.map_or(hostname.as_str(), |s| s.key.hostname.as_str());
    names::outbound(port, &destination.subset, hostname)
}

/// Weights as they count: without any, every destination has the same share. Envoy refuses a sum of zero.
pub fn weights(written: impl Iterator<Item = i32> + Clone) -> Vec<u32> {
    let given: Vec<u32> = written.map(|w| u32::try_from(w).unwrap_or(0)).collect();
    if given.iter().all(|w| *w == 0) { vec![1; given.len()] } else { given }
}
