//! Istio's kinds about routing and security.

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::Object;
use meltemi_config::istio::{
    DestinationRule as RuleSpec, Gateway, PeerAuthentication, Sidecar, Telemetry, VirtualService as RouteSpec,
};

use super::{Name, World};
use crate::change::Touched;
use crate::destination_rule::DestinationRule;
use crate::export::ExportTo;
use crate::shard::ByNamespace;
use crate::virtual_service::VirtualService;

/// Equal in all that the mesh reads; a new `resourceVersion` or status is no change.
fn same<S: PartialEq>(a: Option<&Object<S>>, b: Option<&Object<S>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a.spec == b.spec
                && a.meta.labels == b.meta.labels
                && a.meta.annotations == b.meta.annotations
                && a.meta.creation_timestamp == b.meta.creation_timestamp
        }
        (None, None) => true,
        _ => false,
    }
}

/// Puts an object into its map, without what differs between two readings of the same object.
fn store<S: PartialEq + Clone>(
    map: &mut ByNamespace<Object<S>>,
    name: &Name,
    object: Option<Arc<Object<S>>>,
) -> bool {
    if same(map.get(&name.0, &name.1).map(Arc::as_ref), object.as_deref()) {
        return false;
    }
    map.set(&name.0, &name.1, object);
    true
}

impl World {
    pub(super) fn set_virtual_service(&mut self, name: &Name, object: Option<Arc<Object<RouteSpec>>>) {
        let settings = self.now.settings.clone();
        let read = |o| Arc::new(VirtualService::of(o, &settings.domain, &settings.virtual_service_export()));
        let after = object.map(read);
        let before = self.now.virtual_services.get(&name.0, &name.1).cloned();
        let unchanged = match (&before, &after) {
            (Some(a), Some(b)) => same(Some(&a.object), Some(&b.object)) && a.export_to == b.export_to,
            (a, b) => a.is_none() && b.is_none(),
        };
        if unchanged {
            return;
        }
        let both: Vec<Arc<VirtualService>> = before.into_iter().chain(after.clone()).collect();
        let gateways: BTreeSet<String> = both.iter().flat_map(|vs| vs.gateways.iter().cloned()).collect();
        let export_to = union(both.iter().map(|vs| &vs.export_to));
        self.now.shown = Arc::default();
        self.now.virtual_services.set(&name.0, &name.1, after.clone());
        for gateway in &gateways {
            self.list_at_gateway(gateway, name, after.as_ref().filter(|vs| vs.has_gateway(gateway)));
        }
        let hosts = both.iter().flat_map(|vs| vs.hosts.iter().cloned()).collect();
        self.changes.push(Touched::VirtualService { object: name.clone(), gateways, hosts, export_to });
    }

    /// Puts a VirtualService in its place, by age, among those of a gateway.
    fn list_at_gateway(&mut self, gateway: &str, name: &Name, after: Option<&Arc<VirtualService>>) {
        let by_gateway = &mut self.now.virtual_services_by_gateway;
        let mut list = by_gateway.get(gateway).cloned().unwrap_or_default();
        // Out of the map first: so the list is changed in place unless a snapshot holds it.
        by_gateway.set(gateway.to_owned(), None);
        let held = Arc::make_mut(&mut list);
        held.retain(|vs| vs.namespace() != name.0 || vs.object.meta.name != name.1);
        if let Some(vs) = after {
            let place = held.partition_point(|older| older.age() < vs.age());
            held.insert(place, vs.clone());
        }
        let filled = !held.is_empty();
        by_gateway.set(gateway.to_owned(), filled.then_some(list));
    }

    pub(super) fn set_destination_rule(&mut self, name: Name, object: Option<Arc<Object<RuleSpec>>>) {
        let settings = self.now.settings.clone();
        let before = self.now.destination_rules.get(&name.0, &name.1).cloned();
        let read = |o: &Object<RuleSpec>| {
            Arc::new(DestinationRule::of(o, &settings.domain, &settings.destination_rule_export()))
        };
        let after = object.as_deref().map(read);
        let created = |o: &Arc<Object<RuleSpec>>| o.meta.creation_timestamp.clone();
        let same_age = self.destination_rules.get(&name).map(created) == object.as_ref().map(created);
        match &object {
            Some(object) => self.destination_rules.insert(name.clone(), object.clone()),
            None => self.destination_rules.remove(&name),
        };
        if before == after && same_age {
            return;
        }
        let indexed = object.as_ref().map(created).zip(after.clone());
        self.now.destination_rules.set(&name.0, &name.1, indexed);
        let both: Vec<_> = before.iter().chain(&after).collect();
        let hosts = both.iter().map(|rule| rule.host.clone()).collect();
        let export_to = union(both.iter().map(|rule| &rule.export_to));
        self.changes.push(Touched::DestinationRule { namespace: name.0, hosts, export_to });
    }

    pub(super) fn set_gateway(&mut self, name: &Name, object: Option<Arc<Object<Gateway>>>) {
        let before = self.now.gateways.get(&name.0, &name.1).cloned();
        if store(&mut self.now.gateways, name, object.clone()) {
            let selectors = before.iter().chain(&object).map(|g| g.spec.selector.clone()).collect();
            self.changes.push(Touched::Gateway { selectors });
        }
    }

    pub(super) fn set_peer_authentication(
        &mut self,
        name: &Name,
        object: Option<Arc<Object<PeerAuthentication>>>,
    ) {
        if store(&mut self.now.peer_authentications, name, object) {
            self.changes.push(Touched::PeerAuthentication { namespace: name.0.clone() });
        }
    }

    pub(super) fn set_sidecar(&mut self, name: &Name, object: Option<Arc<Object<Sidecar>>>) {
        if store(&mut self.now.sidecars, name, object) {
            self.changes.push(Touched::Sidecar { namespace: name.0.clone() });
        }
    }

    pub(super) fn set_telemetry(&mut self, name: &Name, object: Option<Arc<Object<Telemetry>>>) {
        if store(&mut self.now.telemetries, name, object) {
            self.changes.push(Touched::Telemetry { namespace: name.0.clone() });
        }
    }
}

fn union<'a>(mut all: impl Iterator<Item = &'a ExportTo>) -> ExportTo {
    let first = all.next().cloned().unwrap_or_default();
    all.fold(first, |sum, next| sum.union(next))
}
