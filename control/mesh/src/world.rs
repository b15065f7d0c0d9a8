//! The one owner of the mesh's state: takes changes one by one and gives out snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service as KubernetesService;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use meltemi_config::istio::{DestinationRule, ServiceEntry};
use meltemi_config::mesh_config::MeshConfig;
use meltemi_config::{AnyObject, Kind, Object};

use crate::change::{Change, ChangeSet, Touched};
use crate::service::allocation::Allocation;
use crate::service::{Origin, Service, ServiceKey};
use crate::settings::Settings;
use crate::snapshot::Snapshot;

mod policies;
mod services;
mod workloads;

/// Namespace and name.
type Name = (String, String);

/// Which object declares a service; of several, the first counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Declarer {
    origin: Origin,
    created: String,
    name: String,
}

/// The mesh's state and its indexes.
#[derive(Debug, Default)]
pub struct World {
    now: Snapshot,
    kubernetes_services: BTreeMap<Name, Arc<KubernetesService>>,
    service_entries: BTreeMap<Name, Arc<Object<ServiceEntry>>>,
    destination_rules: BTreeMap<Name, Arc<Object<DestinationRule>>>,
    declared: BTreeMap<ServiceKey, BTreeMap<Declarer, Arc<Service>>>,
    keys_of_namespace: BTreeMap<String, BTreeSet<ServiceKey>>,
    slices: BTreeMap<Name, BTreeMap<String, Arc<EndpointSlice>>>,
    /// Virtual IPs of hosts that declare none.
    allocated: Allocation,
    claims: BTreeMap<IpAddr, BTreeSet<Name>>,
    /// Services whose endpoints must be computed again before the next snapshot.
    dirty: BTreeSet<ServiceKey>,
    changes: ChangeSet,
}

impl World {
    /// An empty mesh.
    pub fn new(settings: Settings) -> World {
        World { now: Snapshot { settings: Arc::new(settings), ..Snapshot::default() }, ..World::default() }
    }

    /// Takes one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Upsert(object) => {
                let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
                self.set(object.kind(), (namespace, name), Some(object));
            }
            Change::Delete(kind, namespace, name) => self.set(kind, (namespace, name), None),
            Change::MeshConfig(mesh) => self.set_mesh_config(*mesh),
        }
    }

    /// The mesh as it is now.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.refresh_endpoints();
        Arc::new(self.now.clone())
    }

    /// What changed since this was last called. Call it after [`World::snapshot`]: endpoints are computed there.
    pub fn take_changes(&mut self) -> ChangeSet {
        std::mem::take(&mut self.changes)
    }

    fn set(&mut self, kind: Kind, name: Name, object: Option<AnyObject>) {
        /// The object inside, when it is of the kind that its name promised.
        macro_rules! inner {
            ($variant:ident) => {
                match object {
                    Some(AnyObject::$variant(object)) => Some(object),
                    _ => None,
                }
            };
        }
        match kind {
            Kind::Service => self.set_service(name, inner!(Service)),
            Kind::EndpointSlice => self.set_slice(name, inner!(EndpointSlice)),
            Kind::Pod => self.set_pod(&name, inner!(Pod).as_deref()),
            Kind::Node => self.set_node(&name.1, inner!(Node).as_deref()),
            Kind::Namespace => self.set_namespace(&name.1, inner!(Namespace).as_deref()),
            Kind::Secret => self.set_secret(&name, inner!(Secret).as_deref()),
            Kind::ServiceEntry => self.set_service_entry(name, inner!(ServiceEntry)),
            Kind::WorkloadEntry => self.set_workload_entry(&name, inner!(WorkloadEntry).as_deref()),
            Kind::VirtualService => self.set_virtual_service(&name, inner!(VirtualService)),
            Kind::DestinationRule => self.set_destination_rule(name, inner!(DestinationRule)),
            Kind::Gateway => self.set_gateway(&name, inner!(Gateway)),
            Kind::PeerAuthentication => self.set_peer_authentication(&name, inner!(PeerAuthentication)),
            Kind::Sidecar => self.set_sidecar(&name, inner!(Sidecar)),
            Kind::Telemetry => self.set_telemetry(&name, inner!(Telemetry)),
            // Not part of the snapshot yet.
            Kind::WorkloadGroup
            | Kind::EnvoyFilter
            | Kind::ProxyConfig
            | Kind::AuthorizationPolicy
            | Kind::RequestAuthentication
            | Kind::WasmPlugin
            | Kind::TrafficExtension
            | Kind::ConfigMap => {}
        }
    }

    fn set_mesh_config(&mut self, mesh: MeshConfig) {
        if self.now.settings.mesh == mesh {
            return;
        }
        self.now.settings = Arc::new(Settings { mesh, ..(*self.now.settings).clone() });
        self.now.shown = Arc::default();
        self.changes.push(Touched::Mesh);
        // Defaults for visibility are part of what was read from these objects.
        for (name, object) in self.kubernetes_services.clone() {
            self.set_service(name, Some(object));
        }
        for (name, object) in self.service_entries.clone() {
            self.set_service_entry(name, Some(object));
        }
        for (name, object) in self.destination_rules.clone() {
            self.set_destination_rule(name, Some(object));
        }
        let routes: Vec<_> = self.now.virtual_services.iter().map(|vs| vs.object.clone()).collect();
        for object in routes {
            let name = (object.meta.namespace.clone(), object.meta.name.clone());
            self.set_virtual_service(&name, Some(object));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
