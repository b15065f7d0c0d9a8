//! Which change concerns which proxy, and in which types of resources.
//!
//! The answer may name too much, never too little: if it names nothing, the proxy's resources are equal before and
//! after. A property test in `meltemi-translate` holds it to that.

use std::collections::BTreeSet;

use meltemi_proto::type_url::{CLUSTER, ENDPOINT, LISTENER, NAME_TABLE, ROUTE, SECRET};

use crate::change::{ChangeSet, Touched};
use crate::labels::{self, Labels};
use crate::snapshot::Snapshot;
use crate::view::ProxyView;
use crate::virtual_service::MESH_GATEWAY;

/// Type URLs.
pub type TypeUrls = BTreeSet<&'static str>;

const ALL: [&str; 6] = [CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, NAME_TABLE];
const TRAFFIC: [&str; 5] = [CLUSTER, ENDPOINT, LISTENER, ROUTE, NAME_TABLE];

/// The types of resources of the proxy that may differ after the changes. `view` is the view before them.
pub fn impact(changes: &ChangeSet, view: &ProxyView, snapshot: &Snapshot) -> TypeUrls {
    let mut types = TypeUrls::new();
    for touched in &changes.touched {
        if types.len() == ALL.len() {
            break;
        }
        types.extend(one(touched, view, snapshot));
    }
    types
}

fn one(touched: &Touched, view: &ProxyView, snapshot: &Snapshot) -> &'static [&'static str] {
    let own = &view.identity.namespace;
    match touched {
        Touched::Mesh => &ALL,
        Touched::Service { hostname, namespace, export_to } => {
            // Under a Sidecar, a VirtualService can make a service visible that the Sidecar does not name.
            let seen = if view.scope.is_unlimited() {
                export_to.allows(own)
            } else {
                view.scope.sees(export_to, namespace, hostname)
                    || (export_to.allows(own) && routed(view, snapshot, hostname))
            };
            if seen || namespace == own { traffic(view) } else { &[] }
        }
        Touched::Endpoints { hostname, namespace, export_to, beyond_eds } => {
            let seen =
                export_to.allows(own) && (view.scope.is_unlimited() || view.service(hostname).is_some());
            // Without a selector it is the endpoints that tell whose workload serves the ports.
            let listed = namespace == own
                && snapshot.services.get(namespace, hostname).is_some_and(|s| s.selector.is_empty());
            match (seen || namespace == own, *beyond_eds || listed) {
                (false, _) => &[],
                (true, false) => &[ENDPOINT],
                (true, true) => &TRAFFIC,
            }
        }
        Touched::VirtualService { gateways, hosts, export_to, .. } => {
            if !hosts.is_empty() && !export_to.allows(own) {
                return &[];
            }
            let concerned =
                hosts.is_empty() || gateways.iter().any(|gateway| has_gateway(view, snapshot, gateway));
            match (concerned, view.scope.is_unlimited()) {
                (false, _) => &[],
                (true, true) => &[LISTENER, ROUTE],
                // It may bring services into view.
                (true, false) => &TRAFFIC,
            }
        }
        Touched::DestinationRule { export_to, .. } => {
            if export_to.allows(own) {
                traffic(view)
            } else {
                &[]
            }
        }
        Touched::Gateway { selectors } => {
            let selected = |selector: &Labels| labels::contains(&view.labels, selector);
            if view.is_router() && selectors.iter().any(selected) { &ALL } else { &[] }
        }
        // Besides the workload's own listeners: which clients use mutual TLS towards it.
        Touched::PeerAuthentication { .. } => &[CLUSTER, ENDPOINT, LISTENER],
        Touched::Sidecar { namespace } => in_reach(view, snapshot, namespace, &TRAFFIC),
        Touched::Telemetry { namespace } => in_reach(view, snapshot, namespace, &[LISTENER]),
        Touched::Workload { namespace, name, addresses } => {
            let same_address = || view.identity.ips.iter().any(|ip| addresses.contains(&ip.to_string()));
            if namespace == own && (*name == view.identity.name || same_address()) { &ALL } else { &[] }
        }
        Touched::Credential { namespace, .. } => {
            // Gateways read credentials of their own namespace, and of others only with a grant.
            if view.is_router() && namespace == own { &[SECRET] } else { &[] }
        }
    }
}

/// Gateways use secrets that DestinationRules of visible services name.
fn traffic(view: &ProxyView) -> &'static [&'static str] {
    if view.is_router() { &ALL } else { &TRAFFIC }
}

fn in_reach(
    view: &ProxyView,
    snapshot: &Snapshot,
    namespace: &str,
    types: &'static [&'static str],
) -> &'static [&'static str] {
    let reached = namespace == view.identity.namespace || namespace == snapshot.settings.root_namespace();
    if reached { types } else { &[] }
}

fn has_gateway(view: &ProxyView, snapshot: &Snapshot, gateway: &str) -> bool {
    if !view.is_router() {
        return gateway == MESH_GATEWAY;
    }
    let Some((namespace, name)) = gateway.split_once('/') else { return false };
    let current = snapshot.gateways.get(namespace, name);
    current.is_some_and(|g| labels::contains(&view.labels, &g.spec.selector))
        || view.gateways.iter().any(|g| g.meta.namespace == namespace && g.meta.name == name)
}

fn routed(view: &ProxyView, snapshot: &Snapshot, hostname: &str) -> bool {
    view.mesh_virtual_services(snapshot)
        .any(|vs| vs.destinations(&snapshot.settings.domain).iter().any(|(host, _)| host == hostname))
}
