//! What one proxy may know of the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use meltemi_config::Object;
use meltemi_config::istio::sidecar::OutboundTrafficPolicyMode;
use meltemi_config::istio::{Gateway, Sidecar};
use meltemi_proto::node::NodeMetadata;

use crate::destination_rule::{Client, DestinationRule};
use crate::labels::{self, Labels};
use crate::peer_authentication::{self, PeerPolicy};
use crate::service::{Port, Service, TargetPort};
use crate::snapshot::Snapshot;
use crate::virtual_service::{MESH_GATEWAY, VirtualService};
use crate::workload::{Locality, Workload};

mod scope;

pub use scope::{Scope, Shown, Visible};

/// Beside an application, or alone at an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyKind {
    /// Carries the traffic of one workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// Who a proxy says that it is, checked by the control plane.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyIdentity {
    /// Sidecar or gateway.
    pub kind: ProxyKind,
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// The pod's addresses, the first first.
    pub ips: Vec<IpAddr>,
    /// Labels, used when the control plane does not know the pod.
    pub labels: Labels,
    /// Service account.
    pub service_account: String,
    /// Node metadata.
    pub metadata: NodeMetadata,
    /// Names of the extensions that the proxy has (`Node.extensions`).
    pub extensions: BTreeSet<String>,
}

/// A port of a service that this proxy's workload serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The service.
    pub service: Arc<Service>,
    /// Its port.
    pub port: Port,
    /// The port on which the workload listens.
    pub workload_port: u16,
}

/// What one proxy may know of the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyView {
    /// Who it is.
    pub identity: ProxyIdentity,
    /// The workload's labels, as the control plane knows them.
    pub labels: Labels,
    /// What runs beside it.
    pub workload: Option<Arc<Workload>>,
    /// Where it runs.
    pub locality: Locality,
    /// The node it runs on; empty where it is unknown, or where no service that it may call minds nodes.
    pub node: String,
    /// Services it may call: one a host name, sorted by host name.
    pub services: Arc<Vec<Arc<Service>>>,
    /// ExternalName services by the host name of the service in the mesh that they stand for.
    pub aliases: Arc<BTreeMap<String, Vec<Arc<Service>>>>,
    /// Services its workload serves.
    pub targets: Vec<Target>,
    /// Mutual TLS that its workload demands.
    pub peer: PeerPolicy,
    /// The Sidecar object that applies.
    pub sidecar: Option<Arc<Object<Sidecar>>>,
    /// What it may see.
    pub scope: Scope,
    /// True when traffic to unknown hosts may leave.
    pub allow_any: bool,
    /// Gateways that select it.
    pub gateways: Vec<Arc<Object<Gateway>>>,
}

impl ProxyView {
    /// The view of a proxy.
    pub fn of(snapshot: &Snapshot, identity: &ProxyIdentity) -> ProxyView {
        let workload = workload_of(snapshot, identity);
        let labels = workload.as_ref().map_or_else(|| identity.labels.clone(), |w| w.labels.clone());
        let sidecar = scope::sidecar_for(snapshot, identity, &labels);
        let scope = Scope::of(identity, sidecar.as_deref());
        let Visible { services, aliases } = scope::visible(snapshot, &scope);
        let node = workload.as_ref().map(|w| w.node.clone()).unwrap_or_default();
        let mode = sidecar.as_ref().and_then(|s| s.spec.outbound_traffic_policy.as_ref()).map(|p| p.mode);
        let mode = mode.unwrap_or(snapshot.settings.mesh.outbound_traffic_policy.mode);
        ProxyView {
            locality: workload
                .as_ref()
                .and_then(|w| w.locality.clone())
                .or_else(|| snapshot.nodes.get(&node).cloned())
                .unwrap_or_default(),
            targets: targets(snapshot, identity, &labels, workload.as_deref()),
            peer: peer_authentication::effective(snapshot, &identity.namespace, &labels),
            gateways: gateways_for(snapshot, identity, &labels),
            node: if services.iter().any(|s| s.minds_nodes()) { node } else { String::new() },
            allow_any: mode != OutboundTrafficPolicyMode::RegistryOnly,
            identity: identity.clone(),
            labels,
            workload,
            services,
            aliases,
            sidecar,
            scope,
        }
    }

    /// Are the look-ups of its workload captured? Then hosts without an address of their own have one here.
    pub fn captures_dns(&self) -> bool {
        !self.is_router() && self.identity.metadata.dns_capture == "true"
    }

    /// The virtual IPs of a service, as this proxy's workload dials them.
    pub fn addresses<'a>(&self, service: &'a Service) -> &'a [String] {
        if service.addresses.is_empty() && self.captures_dns() {
            return &service.auto_addresses;
        }
        &service.addresses
    }

    /// True for a gateway.
    pub fn is_router(&self) -> bool {
        self.identity.kind == ProxyKind::Router
    }

    /// Has the proxy that extension?
    pub fn has_extension(&self, name: &str) -> bool {
        self.identity.extensions.contains(name)
    }

    /// The service that a host name means to this proxy.
    pub fn service(&self, hostname: &str) -> Option<&Arc<Service>> {
        let found = self.services.binary_search_by(|s| s.key.hostname.as_str().cmp(hostname)).ok()?;
        self.services.get(found)
    }

    /// The service that a destination means: by its own name or by that of an alias.
    pub fn destination(&self, hostname: &str) -> Option<&Arc<Service>> {
        self.service(hostname).or_else(|| {
            let (target, _) =
                self.aliases.iter().find(|(_, all)| all.iter().any(|s| s.key.hostname == hostname))?;
            self.service(target)
        })
    }

    /// The DestinationRule for a service.
    pub fn destination_rule<'a>(
        &self,
        snapshot: &'a Snapshot,
        service: &Service,
    ) -> Option<&'a Arc<DestinationRule>> {
        let client = Client {
            namespace: &self.identity.namespace,
            labels: &self.labels,
            root_namespace: snapshot.settings.root_namespace(),
        };
        snapshot.destination_rules.find(&client, &service.key.hostname, &service.key.namespace)
    }

    /// VirtualServices for the proxy's own outbound traffic, the oldest first.
    pub fn mesh_virtual_services<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = &'a Arc<VirtualService>> {
        let all = snapshot.virtual_services_for(MESH_GATEWAY, &self.identity.namespace);
        all.filter(|vs| !vs.is_delegate() && self.scope.sees_virtual_service(vs))
    }
}

fn workload_of(snapshot: &Snapshot, identity: &ProxyIdentity) -> Option<Arc<Workload>> {
    let by_name = snapshot.pods.get(&identity.namespace, &identity.name);
    let entry = || snapshot.workload_entries.get(&identity.namespace, &identity.name);
    let by_ip = || identity.ips.iter().find_map(|ip| snapshot.workload_at(*ip));
    let found = by_name.or_else(entry).or_else(by_ip)?;
    (found.namespace == identity.namespace).then(|| found.clone())
}

fn targets(
    snapshot: &Snapshot,
    identity: &ProxyIdentity,
    labels: &Labels,
    workload: Option<&Workload>,
) -> Vec<Target> {
    let mut targets = Vec::new();
    let addresses: BTreeSet<String> = identity.ips.iter().map(ToString::to_string).collect();
    for service in snapshot.services.of(&identity.namespace) {
        let selected = service.selects(labels);
        let listed = snapshot.endpoints_of(&service.key).filter(|_| service.selector.is_empty());
        for port in &service.ports {
            let own =
                listed.and_then(|e| e.of_port(port.number).iter().find(|e| addresses.contains(&e.address)));
            let workload_port = match (selected, own) {
                (true, _) => workload_port(port, workload),
                (false, Some(endpoint)) => Some(endpoint.port),
                (false, None) => None,
            };
            if let Some(workload_port) = workload_port {
                targets.push(Target { service: service.clone(), port: port.clone(), workload_port });
            }
        }
    }
    targets
}

fn workload_port(port: &Port, workload: Option<&Workload>) -> Option<u16> {
    match &port.target {
        TargetPort::Name(name) => workload?.ports.get(name).copied(),
        TargetPort::Number(number) => {
            // A WorkloadEntry may put a service's port elsewhere.
            let own = workload.filter(|w| !w.pod).and_then(|w| w.ports.get(&port.name));
            Some(own.copied().unwrap_or(*number))
        }
    }
}

fn gateways_for(snapshot: &Snapshot, identity: &ProxyIdentity, labels: &Labels) -> Vec<Arc<Object<Gateway>>> {
    if identity.kind != ProxyKind::Router {
        return Vec::new();
    }
    let all = snapshot.gateways.iter().filter(|g| labels::contains(labels, &g.spec.selector));
    let mut gateways: Vec<_> = all.cloned().collect();
    gateways.sort_by(|a, b| {
        let age = |g: &Object<Gateway>| {
            (g.meta.creation_timestamp.clone(), g.meta.namespace.clone(), g.meta.name.clone())
        };
        age(a).cmp(&age(b))
    });
    gateways
}

#[cfg(test)]
mod tests;
