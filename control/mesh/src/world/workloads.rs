//! Pods, WorkloadEntries, nodes, namespaces and secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret};
use meltemi_config::Object;
use meltemi_config::istio::WorkloadEntry;

use super::{Name, World};
use crate::change::Touched;
use crate::secret::Credential;
use crate::service::entry;
use crate::workload::{Locality, Workload};

impl World {
    pub(super) fn set_pod(&mut self, name: &Name, object: Option<&Pod>) {
        let after = object.and_then(Workload::of_pod).map(Arc::new);
        let before = self.now.pods.get(&name.0, &name.1).cloned();
        if before.as_deref() == after.as_deref() {
            return;
        }
        self.now.pods.set(&name.0, &name.1, after.clone());
        self.claim_addresses(name, before.as_deref(), after.as_deref());
        self.workload_changed(name, before, after);
    }

    pub(super) fn set_workload_entry(&mut self, name: &Name, object: Option<&Object<WorkloadEntry>>) {
        let read = |o: &Object<WorkloadEntry>| {
            let mut workload = entry::of_entry(&name.0, &name.1, &name.1, &o.spec);
            for (key, value) in &o.meta.labels {
                workload.labels.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Arc::new(workload)
        };
        let after = object.map(read);
        let before = self.now.workload_entries.get(&name.0, &name.1).cloned();
        if before.as_deref() == after.as_deref() {
            return;
        }
        self.now.workload_entries.set(&name.0, &name.1, after.clone());
        self.workload_changed(name, before, after);
    }

    fn workload_changed(&mut self, name: &Name, before: Option<Arc<Workload>>, after: Option<Arc<Workload>>) {
        let both: Vec<&Arc<Workload>> = before.iter().chain(&after).collect();
        self.mark_services_of(&both);
        let view = |w: &Arc<Workload>| {
            let place = (w.node.clone(), w.locality.clone());
            (w.labels.clone(), w.ports.clone(), w.service_account.clone(), w.addresses.clone(), place)
        };
        if before.as_ref().map(view) == after.as_ref().map(view) {
            // Readiness and the like reach other proxies through endpoints only.
            return;
        }
        let addresses: BTreeSet<String> = both.iter().flat_map(|w| w.addresses.iter().cloned()).collect();
        self.changes.push(Touched::Workload { namespace: name.0.clone(), name: name.1.clone(), addresses });
    }

    /// Keeps the index of addresses. Kubernetes may give a finished pod's address to another before the first is
    /// gone, so several may claim one: a ready pod wins, then the first by name.
    fn claim_addresses(&mut self, name: &Name, before: Option<&Workload>, after: Option<&Workload>) {
        let ips = |w: Option<&Workload>| -> BTreeSet<_> {
            w.filter(|w| !w.host_network).map(|w| w.ips().collect()).unwrap_or_default()
        };
        let (old, new) = (ips(before), ips(after));
        for ip in old.difference(&new) {
            if let Some(claims) = self.claims.get_mut(ip) {
                claims.remove(name);
            }
        }
        for ip in &new {
            self.claims.entry(*ip).or_default().insert(name.clone());
        }
        for ip in old.union(&new) {
            let claims = self.claims.get(ip).into_iter().flatten();
            let pods = claims.filter_map(|(namespace, name)| self.now.pods.get(namespace, name));
            let holder = pods.min_by_key(|pod| (!pod.ready, &pod.namespace, &pod.name)).cloned();
            self.now.workloads_by_ip.set(*ip, holder);
        }
        self.claims.retain(|_, claims| !claims.is_empty());
    }

    pub(super) fn set_node(&mut self, name: &str, object: Option<&Node>) {
        let after = object.map(Locality::of_node).filter(|l| *l != Locality::default());
        if self.now.nodes.get(name) == after.as_ref() {
            return;
        }
        self.now.nodes.set(name.to_owned(), after);
        // Rare: a node's topology labels are set before pods run there.
        self.dirty.extend(self.declared.keys().cloned());
        for pod in self.now.pods.iter().filter(|pod| pod.node == name) {
            self.changes.push(Touched::Workload {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                addresses: pod.addresses.iter().cloned().collect(),
            });
        }
    }

    pub(super) fn set_namespace(&mut self, name: &str, object: Option<&Namespace>) {
        let labels = object.map(|o| Arc::new(o.metadata.labels.clone().unwrap_or_default()));
        self.now.namespaces.set(name.to_owned(), labels);
    }

    pub(super) fn set_secret(&mut self, name: &Name, object: Option<&Secret>) {
        let after = object.and_then(Credential::of).map(Arc::new);
        if self.now.credentials.get(&name.0, &name.1).map(Arc::as_ref) == after.as_deref() {
            return;
        }
        self.now.credentials.set(&name.0, &name.1, after);
        self.changes.push(Touched::Credential { namespace: name.0.clone(), name: name.1.clone() });
    }
}
