//! Which services a proxy sees: visibility by `exportTo`, narrowed by a Sidecar.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use meltemi_config::Object;
use meltemi_config::istio::Sidecar;

use super::{ProxyIdentity, ProxyKind};
use crate::export::ExportTo;
use crate::host;
use crate::labels::{self, Labels};
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::virtual_service::{MESH_GATEWAY, VirtualService};

/// What a proxy may see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The proxy's namespace.
    pub namespace: String,
    /// `namespace/host` patterns of a Sidecar; `None` means everything.
    egress: Option<Vec<(String, String)>>,
}

impl Scope {
    pub(super) fn of(identity: &ProxyIdentity, sidecar: Option<&Object<Sidecar>>) -> Scope {
        // A Sidecar without egress says nothing about egress.
        let egress = sidecar.filter(|s| !s.spec.egress.is_empty()).map(|s| {
            let hosts = s.spec.egress.iter().flat_map(|listener| &listener.hosts);
            hosts.filter_map(|host| pattern(host, &identity.namespace)).collect()
        });
        Scope { namespace: identity.namespace.clone(), egress }
    }

    /// Is every service that is exported to the namespace visible?
    pub fn is_unlimited(&self) -> bool {
        self.egress.is_none()
    }

    /// May a service of that host and namespace be seen, so far as the Sidecar says?
    pub fn imports(&self, namespace: &str, hostname: &str) -> bool {
        let Some(egress) = &self.egress else { return true };
        egress.iter().any(|(ns, host)| (ns == "*" || ns == namespace) && host::covered_by(hostname, host))
    }

    /// May the proxy see something exported like this?
    pub fn sees(&self, export_to: &ExportTo, namespace: &str, hostname: &str) -> bool {
        export_to.allows(&self.namespace) && self.imports(namespace, hostname)
    }

    /// Does a VirtualService concern a host that the proxy may call?
    pub fn sees_virtual_service(&self, vs: &VirtualService) -> bool {
        let Some(egress) = &self.egress else { return true };
        let concerns = |(ns, pattern): &(String, String)| {
            (ns == "*" || ns == vs.namespace()) && vs.hosts.iter().any(|h| host::overlaps(h, pattern))
        };
        egress.iter().any(concerns)
    }
}

/// Reads `namespace/dnsName`; `~` imports nothing.
fn pattern(text: &str, own: &str) -> Option<(String, String)> {
    let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
    match namespace {
        "~" => None,
        "." => Some((own.to_owned(), host.to_owned())),
        other => Some((other.to_owned(), host.to_owned())),
    }
}

/// The Sidecar for a workload: the oldest of its namespace that selects it, else the namespace's, else the root's.
pub(super) fn sidecar_for(
    snapshot: &Snapshot,
    identity: &ProxyIdentity,
    labels: &Labels,
) -> Option<Arc<Object<Sidecar>>> {
    if identity.kind == ProxyKind::Router {
        return None;
    }
    let age = |s: &&Arc<Object<Sidecar>>| (s.meta.creation_timestamp.clone(), s.meta.name.clone());
    let selector = |s: &Object<Sidecar>| {
        s.spec.workload_selector.as_ref().map(|w| w.labels.clone()).filter(|l| !l.is_empty())
    };
    let own = || snapshot.sidecars.of(&identity.namespace);
    let selecting =
        own().filter(|s| selector(s).is_some_and(|s| labels::contains(labels, &s))).min_by_key(age);
    let whole = || own().filter(|s| selector(s).is_none()).min_by_key(age);
    let root = || {
        snapshot
            .sidecars
            .of(snapshot.settings.root_namespace())
            .filter(|s| selector(s).is_none())
            .min_by_key(age)
    };
    selecting.or_else(whole).or_else(root).cloned()
}

/// The services that a scope shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Visible {
    /// One a host name, sorted by host name.
    pub services: Arc<Vec<Arc<Service>>>,
    /// ExternalName services by the host name of the visible service that they stand for.
    pub aliases: Arc<BTreeMap<String, Vec<Arc<Service>>>>,
}

/// What scopes show, found out once for all proxies that share a scope. It holds nothing that could not be computed
/// again, so that two snapshots are equal whatever was asked of them.
#[derive(Debug, Default)]
pub struct Shown {
    by_scope: Mutex<BTreeMap<Scope, Visible>>,
}

impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Shown {
    fn get(&self, scope: &Scope, compute: impl FnOnce() -> Visible) -> Visible {
        // Nothing panics while the lock is held, and a half-made entry cannot be seen.
        let mut by_scope = self.by_scope.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(visible) = by_scope.get(scope) {
            return visible.clone();
        }
        let visible = compute();
        by_scope.insert(scope.clone(), visible.clone());
        visible
    }
}

/// What a scope shows of a snapshot.
pub(super) fn visible(snapshot: &Snapshot, scope: &Scope) -> Visible {
    snapshot.shown.get(scope, || visible_services(snapshot, scope))
}

/// Services that a proxy sees, one a host name, and ExternalName services apart when their target is one of them.
fn visible_services(snapshot: &Snapshot, scope: &Scope) -> Visible {
    let mut by_host: BTreeMap<String, Arc<Service>> = BTreeMap::new();
    for (hostname, all) in snapshot.services_by_host.iter() {
        let visible = |s: &&Arc<Service>| scope.sees(&s.export_to, &s.key.namespace, hostname);
        let own = all.iter().filter(visible).find(|s| s.key.namespace == scope.namespace);
        if let Some(service) = own.or_else(|| all.iter().find(visible)) {
            by_host.insert(hostname.clone(), service.clone());
        }
    }
    if !scope.is_unlimited() {
        for hostname in routed_to(snapshot, scope) {
            if let Some(service) = snapshot.service(&hostname, &scope.namespace) {
                by_host.entry(hostname).or_insert_with(|| service.clone());
            }
        }
    }
    let mut aliases: BTreeMap<String, Vec<Arc<Service>>> = BTreeMap::new();
    let is_alias = |s: &Arc<Service>| {
        s.external_name.as_ref().is_some_and(|t| by_host.contains_key(t) && *t != s.key.hostname)
    };
    let (alias, services): (Vec<_>, Vec<_>) = by_host.values().cloned().partition(is_alias);
    for service in alias {
        aliases.entry(service.external_name.clone().unwrap_or_default()).or_default().push(service);
    }
    Visible { services: Arc::new(services), aliases: Arc::new(aliases) }
}

/// Hosts that visible VirtualServices route to: without their clusters the routes would lead nowhere.
fn routed_to(snapshot: &Snapshot, scope: &Scope) -> BTreeSet<String> {
    let routes = snapshot.virtual_services_for(MESH_GATEWAY, &scope.namespace);
    let visible = routes.filter(|vs| scope.sees_virtual_service(vs));
    visible
        .flat_map(|vs| vs.destinations(&snapshot.settings.domain).into_iter().map(|(host, _)| host))
        .collect()
}
