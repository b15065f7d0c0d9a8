//! The mesh at one moment.

use std::net::IpAddr;
use std::sync::Arc;

use meltemi_config::Object;
use meltemi_config::istio::{Gateway, PeerAuthentication, Sidecar, Telemetry};

use crate::destination_rule::DestinationRules;
use crate::endpoint::ServiceEndpoints;
use crate::export::ExportTo;
use crate::labels::Labels;
use crate::secret::Credential;
use crate::service::{Service, ServiceKey};
use crate::settings::Settings;
use crate::shard::{ByKey, ByNamespace};
use crate::view::Shown;
use crate::virtual_service::VirtualService;
use crate::workload::{Locality, Workload};

/// The mesh at one moment. Immutable; shares all that did not change with the snapshot before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// What holds for the whole mesh.
    pub settings: Arc<Settings>,
    /// Services by namespace and host name.
    pub services: ByNamespace<Service>,
    /// The same by host name; several namespaces may declare one host.
    pub services_by_host: ByKey<String, Arc<Vec<Arc<Service>>>>,
    /// Endpoints of services that have any.
    pub endpoints: ByKey<ServiceKey, Arc<ServiceEndpoints>>,
    /// Pods.
    pub pods: ByNamespace<Workload>,
    /// WorkloadEntries.
    pub workload_entries: ByNamespace<Workload>,
    /// Who has an address. Pods on the node's network share theirs and are left out.
    pub workloads_by_ip: ByKey<IpAddr, Arc<Workload>>,
    /// Localities of nodes.
    pub nodes: ByKey<String, Locality>,
    /// Labels of namespaces.
    pub namespaces: ByKey<String, Arc<Labels>>,
    /// VirtualServices.
    pub virtual_services: ByNamespace<VirtualService>,
    /// The same by gateway name (`mesh`, `namespace/name`), the oldest first.
    pub virtual_services_by_gateway: ByKey<String, Arc<Vec<Arc<VirtualService>>>>,
    /// DestinationRules.
    pub destination_rules: DestinationRules,
    /// Gateways.
    pub gateways: ByNamespace<Object<Gateway>>,
    /// PeerAuthentications.
    pub peer_authentications: ByNamespace<Object<PeerAuthentication>>,
    /// Sidecars.
    pub sidecars: ByNamespace<Object<Sidecar>>,
    /// Telemetries.
    pub telemetries: ByNamespace<Object<Telemetry>>,
    /// Certificates that gateways may serve.
    pub credentials: ByNamespace<Credential>,
    /// What scopes show; shared for as long as services and routes are the same.
    pub shown: Arc<Shown>,
}

impl Snapshot {
    /// Endpoints of a service.
    pub fn endpoints_of(&self, key: &ServiceKey) -> Option<&Arc<ServiceEndpoints>> {
        self.endpoints.get(key)
    }

    /// Who runs at that address.
    pub fn workload_at(&self, ip: IpAddr) -> Option<&Arc<Workload>> {
        self.workloads_by_ip.get(&ip)
    }

    /// All services that declare a host, the one that counts first: Kubernetes before ServiceEntry, old before young.
    pub fn services_named(&self, hostname: &str) -> &[Arc<Service>] {
        self.services_by_host.get(hostname).map_or(&[], |list| list.as_slice())
    }

    /// The service that `hostname` means in `namespace`: the namespace's own, else the first that it may see.
    pub fn service(&self, hostname: &str, namespace: &str) -> Option<&Arc<Service>> {
        let visible = |s: &&Arc<Service>| s.export_to.allows(namespace);
        let all = self.services_named(hostname);
        all.iter().filter(visible).find(|s| s.key.namespace == namespace).or_else(|| all.iter().find(visible))
    }

    /// VirtualServices of a gateway (or `mesh`) that `namespace` may see: its own that are not for everybody, then those
    /// that others export to it by name, then those for everybody; among equals the oldest first.
    pub fn virtual_services_for<'a>(
        &'a self,
        gateway: &str,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<VirtualService>> {
        let all = self.virtual_services_by_gateway.get(gateway).map_or(&[][..], |list| list.as_slice());
        let rank = move |vs: &VirtualService| match &vs.export_to {
            ExportTo::All => 2,
            ExportTo::Namespaces(_) => u8::from(vs.namespace() != namespace),
        };
        let visible = move || all.iter().filter(move |vs| vs.export_to.allows(namespace));
        (0..=2).flat_map(move |wanted| visible().filter(move |vs| rank(vs) == wanted))
    }
}
