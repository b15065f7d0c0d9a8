//! Services and their endpoints.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service as KubernetesService;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use meltemi_config::Object;
use meltemi_config::istio::ServiceEntry;

use super::{Declarer, Name, World};
use crate::change::Touched;
use crate::endpoint::{Endpoint, ServiceEndpoints, slices};
use crate::service::{Origin, Resolution, Service, ServiceKey, allocation, entry, kubernetes};
use crate::snapshot::Snapshot;
use crate::workload::{Locality, Workload};

impl slices::Pods for Snapshot {
    fn pod(&self, namespace: &str, name: &str) -> Option<&Workload> {
        self.pods.get(namespace, name).map(Arc::as_ref)
    }

    fn at(&self, address: &str) -> Option<&Workload> {
        self.workloads_by_ip.get(&address.parse::<std::net::IpAddr>().ok()?).map(Arc::as_ref)
    }

    fn locality(&self, node: &str) -> Locality {
        self.nodes.get(node).cloned().unwrap_or_default()
    }
}

impl World {
    pub(super) fn set_service(&mut self, name: Name, object: Option<Arc<KubernetesService>>) {
        let settings = self.now.settings.clone();
        let service = object
            .as_ref()
            .and_then(|o| kubernetes::service(o, &settings.domain, &settings.service_export()));
        self.withdraw(Origin::Kubernetes, &name, service.as_slice());
        match object {
            Some(object) => self.kubernetes_services.insert(name, object),
            None => self.kubernetes_services.remove(&name),
        };
        if let Some(service) = service {
            self.declare(service);
        }
    }

    pub(super) fn set_service_entry(&mut self, name: Name, object: Option<Arc<Object<ServiceEntry>>>) {
        let export = self.now.settings.service_export();
        let mut services = object.as_ref().map(|o| entry::services(o, &export)).unwrap_or_default();
        self.withdraw(Origin::ServiceEntry, &name, &services);
        let promised = object.as_ref().map(|o| allocation::promised(o)).unwrap_or_default();
        for service in services.iter_mut().filter(|service| entry::wants_address(service)) {
            let promised = promised.get(&service.key.hostname).copied();
            let address = self.allocated.give(&service.key, promised);
            service.auto_addresses = address.iter().map(ToString::to_string).collect();
        }
        match object {
            Some(object) => self.service_entries.insert(name, object),
            None => self.service_entries.remove(&name),
        };
        for service in services {
            self.declare(service);
        }
    }

    pub(super) fn set_slice(&mut self, name: Name, object: Option<Arc<EndpointSlice>>) {
        let service =
            object.as_ref().and_then(|slice| slice.metadata.labels.as_ref()?.get(slices::SERVICE_NAME));
        let service = service.map(|service| (name.0.clone(), service.clone()));
        // A slice may have changed its service; a deletion tells only the slice's name.
        let namespace =
            self.slices.range((name.0.clone(), String::new())..).take_while(|(key, _)| key.0 == name.0);
        let holders = namespace.filter(|(_, held)| held.contains_key(&name.1));
        let before: Vec<Name> = holders.map(|(key, _)| key.clone()).collect();
        for key in before.iter().filter(|key| Some(*key) != service.as_ref()) {
            if let Some(held) = self.slices.get_mut(key) {
                held.remove(&name.1);
                if held.is_empty() {
                    self.slices.remove(key);
                }
            }
        }
        if let (Some(key), Some(slice)) = (&service, object) {
            self.slices.entry(key.clone()).or_default().insert(name.1, slice);
        }
        for (namespace, service) in before.iter().chain(&service) {
            self.mark_kubernetes_service(namespace, service);
        }
    }

    fn mark_kubernetes_service(&mut self, namespace: &str, service: &str) {
        let hostname = crate::host::service_hostname(service, namespace, &self.now.settings.domain);
        self.dirty.insert(ServiceKey { hostname, namespace: namespace.to_owned() });
    }

    /// Endpoints of every service whose selector chooses one of these label sets, or that already has the address.
    pub(super) fn mark_services_of(&mut self, workloads: &[&Arc<Workload>]) {
        for workload in workloads {
            let namespace = &workload.namespace;
            let here = self.keys_of_namespace.get(namespace).into_iter().flatten();
            let selecting = here.filter(|key| {
                let declared = self.declared.get(key).into_iter().flat_map(|all| all.values());
                declared.into_iter().any(|service| service.selects(&workload.labels))
            });
            let mut keys: Vec<ServiceKey> = selecting.cloned().collect();
            // Slices without a selector (or of a selector that just changed) may point to the pod as well.
            let slices = self.slices.range((namespace.clone(), String::new())..);
            for ((_, service), held) in slices.take_while(|((held, _), _)| held == namespace) {
                let addresses =
                    held.values().flat_map(|s| s.endpoints.iter().flatten().flat_map(|e| e.addresses.iter()));
                if *namespace == workload.namespace
                    && addresses.into_iter().any(|a| workload.addresses.contains(a))
                {
                    let hostname =
                        crate::host::service_hostname(service, namespace, &self.now.settings.domain);
                    keys.push(ServiceKey { hostname, namespace: namespace.clone() });
                }
            }
            self.dirty.extend(keys);
        }
    }

    fn declare(&mut self, service: Service) {
        let declarer =
            Declarer { origin: service.origin, created: service.created.clone(), name: service.name.clone() };
        let key = service.key.clone();
        self.keys_of_namespace.entry(key.namespace.clone()).or_default().insert(key.clone());
        self.declared.entry(key.clone()).or_default().insert(declarer, Arc::new(service));
        self.settle(&key);
    }

    /// Forgets what an object declared. `again` is about to be declared, so nobody need hear of its absence.
    fn withdraw(&mut self, origin: Origin, name: &Name, again: &[Service]) {
        let keys: Vec<ServiceKey> = match origin {
            Origin::Kubernetes => {
                let hostname = crate::host::service_hostname(&name.1, &name.0, &self.now.settings.domain);
                vec![ServiceKey { hostname, namespace: name.0.clone() }]
            }
            Origin::ServiceEntry => {
                let hosts = self.service_entries.get(name).map(|o| o.spec.hosts.clone()).unwrap_or_default();
                let key =
                    |h: String| ServiceKey { hostname: h.to_ascii_lowercase(), namespace: name.0.clone() };
                hosts.into_iter().map(key).collect()
            }
        };
        for key in keys {
            if let Some(all) = self.declared.get_mut(&key) {
                all.retain(|declarer, _| declarer.origin != origin || declarer.name != name.1);
                if all.is_empty() {
                    self.declared.remove(&key);
                    if !again.iter().any(|service| service.key == key) {
                        self.allocated.take_back(&key);
                    }
                    if let Some(keys) = self.keys_of_namespace.get_mut(&key.namespace) {
                        keys.remove(&key);
                    }
                }
            }
            if !again.iter().any(|service| service.key == key) {
                self.settle(&key);
            }
        }
    }

    /// Puts what counts of a service's declarations into the snapshot.
    fn settle(&mut self, key: &ServiceKey) {
        let service = self.declared.get(key).and_then(|all| combine(all.values())).map(Arc::new);
        let before = self.now.services.get(&key.namespace, &key.hostname).cloned();
        self.dirty.insert(key.clone());
        if before.as_deref() == service.as_deref() {
            return;
        }
        let export_to = match (&before, &service) {
            (Some(a), Some(b)) => a.export_to.union(&b.export_to),
            (Some(one), None) | (None, Some(one)) => one.export_to.clone(),
            (None, None) => return,
        };
        self.changes.push(Touched::Service {
            hostname: key.hostname.clone(),
            namespace: key.namespace.clone(),
            export_to,
        });
        self.now.shown = Arc::default();
        self.now.services.set(&key.namespace, &key.hostname, service.clone());
        let same_host = self.now.services_by_host.get(&key.hostname);
        let mut all: Vec<Arc<Service>> = same_host.map(|list| list.to_vec()).unwrap_or_default();
        all.retain(|s| s.key != *key);
        all.extend(service);
        all.sort_by(|a, b| {
            (a.origin, &a.created, &a.key.namespace).cmp(&(b.origin, &b.created, &b.key.namespace))
        });
        let all = (!all.is_empty()).then(|| Arc::new(all));
        self.now.services_by_host.set(key.hostname.clone(), all);
    }

    pub(super) fn refresh_endpoints(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            let after = self.endpoints_now(&key);
            let before = self.now.endpoints.get(&key).cloned();
            if before.as_deref().unwrap_or(&ServiceEndpoints::default()) == &after {
                continue;
            }
            if let Some(service) = self.now.services.get(&key.namespace, &key.hostname) {
                self.changes.push(Touched::Endpoints {
                    hostname: key.hostname.clone(),
                    namespace: key.namespace.clone(),
                    export_to: service.export_to.clone(),
                    beyond_eds: beyond_eds(service, before.as_deref(), &after),
                });
            }
            let empty = after.by_port.is_empty();
            self.now.endpoints.set(key, (!empty).then(|| Arc::new(after)));
        }
    }

    fn endpoints_now(&self, key: &ServiceKey) -> ServiceEndpoints {
        let mut all = ServiceEndpoints::default();
        for service in self.declared.get(key).into_iter().flat_map(|declared| declared.values()) {
            let found = match service.origin {
                Origin::Kubernetes => self.kubernetes_endpoints(service),
                Origin::ServiceEntry => self.entry_endpoints(service),
            };
            all.identities.extend(found.identities);
            for (port, list) in found.by_port {
                all.by_port.entry(port).or_default().extend(list);
            }
        }
        all.finish()
    }

    fn kubernetes_endpoints(&self, service: &Service) -> ServiceEndpoints {
        if let Some(target) = &service.external_name {
            let mut all = ServiceEndpoints::default();
            for port in &service.ports {
                all.add(port.number, Endpoint::bare(target, port.number, &service.key.namespace));
            }
            return all.finish();
        }
        let held = self.slices.get(&(service.key.namespace.clone(), service.name.clone()));
        slices::join(service, held.into_iter().flat_map(|h| h.values().map(Arc::as_ref)), &self.now)
    }

    fn entry_endpoints(&self, service: &Service) -> ServiceEndpoints {
        let name = (service.key.namespace.clone(), service.name.clone());
        let Some(object) = self.service_entries.get(&name) else { return ServiceEndpoints::default() };
        let pods = self.now.pods.of(&name.0);
        let selected = pods.chain(self.now.workload_entries.of(&name.0)).map(Arc::as_ref);
        let selected = selected.filter(|w| service.selects(&w.labels));
        entry::endpoints(object, service, selected, |node| slices::Pods::locality(&self.now, node))
    }
}

/// The first declaration, with ports that only others have.
fn combine<'a>(mut all: impl Iterator<Item = &'a Arc<Service>>) -> Option<Service> {
    let mut service = Service::clone(all.next()?);
    for other in all.filter(|other| other.origin == service.origin) {
        for port in &other.ports {
            if service.port(port.number).is_none() {
                service.ports.push(port.clone());
            }
        }
    }
    Some(service)
}

fn beyond_eds(service: &Service, before: Option<&ServiceEndpoints>, after: &ServiceEndpoints) -> bool {
    let empty = ServiceEndpoints::default();
    let before = before.unwrap_or(&empty);
    let all_mesh_tls = |e: &ServiceEndpoints| -> Vec<(u16, bool)> {
        e.by_port.iter().map(|(port, list)| (*port, list.iter().all(|e| e.mesh_tls))).collect()
    };
    service.resolution != Resolution::Endpoints
        || before.identities != after.identities
        || all_mesh_tls(before) != all_mesh_tls(after)
}
