//! VirtualServices with their host and gateway names made complete.

use std::sync::Arc;

use meltemi_config::Object;
use meltemi_config::istio::VirtualService as Spec;
use meltemi_config::istio::virtual_service::{Destination, HttpRoute};

use crate::export::ExportTo;
use crate::host;
use crate::snapshot::Snapshot;

/// The gateway name that stands for all sidecars.
pub const MESH_GATEWAY: &str = "mesh";

/// A VirtualService.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualService {
    /// The object as written.
    pub object: Arc<Object<Spec>>,
    /// Its hosts, complete.
    pub hosts: Vec<String>,
    /// `mesh` or `namespace/name`.
    pub gateways: Vec<String>,
    /// Who may see it.
    pub export_to: ExportTo,
}

impl VirtualService {
    /// Reads an object.
    pub fn of(object: Arc<Object<Spec>>, domain: &str, default_export: &ExportTo) -> VirtualService {
        let (meta, spec) = (&object.meta, &object.spec);
        let mut hosts: Vec<String> =
            spec.hosts.iter().map(|h| host::resolve(h, &meta.namespace, domain)).collect();
        hosts.sort();
        hosts.dedup();
        VirtualService {
            gateways: gateway_names(&spec.gateways, &meta.namespace),
            export_to: ExportTo::read(&spec.export_to, &meta.namespace, default_export),
            hosts,
            object,
        }
    }

    /// The object's namespace.
    pub fn namespace(&self) -> &str {
        &self.object.meta.namespace
    }

    /// Does it apply at this gateway (or `mesh`)?
    pub fn has_gateway(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|name| name == gateway)
    }

    /// Without hosts it is only the target of delegation.
    pub fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Every destination it names, with complete host names.
    pub fn destinations(&self, domain: &str) -> Vec<(String, &Destination)> {
        let spec = &self.object.spec;
        let http = spec.http.iter().flat_map(http_destinations);
        let tls = spec.tls.iter().flat_map(|r| r.route.iter().map(|d| &d.destination));
        let tcp = spec.tcp.iter().flat_map(|r| r.route.iter().map(|d| &d.destination));
        http.chain(tls).chain(tcp).map(|d| (host::resolve(&d.host, self.namespace(), domain), d)).collect()
    }

    /// Oldest first; a conflict about a host goes to the oldest.
    pub fn age(&self) -> (&str, &str, &str) {
        let meta = &self.object.meta;
        (&meta.creation_timestamp, &meta.namespace, &meta.name)
    }
}

fn http_destinations(route: &HttpRoute) -> impl Iterator<Item = &Destination> {
    let mirrors = route.mirrors.iter().filter_map(|m| m.destination.as_ref());
    route.route.iter().map(|d| &d.destination).chain(&route.mirror).chain(mirrors)
}

/// Complete gateway names: none means `mesh`, a bare name is of the own namespace.
pub fn gateway_names(names: &[String], namespace: &str) -> Vec<String> {
    if names.is_empty() {
        return vec![MESH_GATEWAY.to_owned()];
    }
    let complete = |name: &String| match name.as_str() {
        MESH_GATEWAY => name.clone(),
        name if name.contains('/') => name.to_owned(),
        name => format!("{namespace}/{name}"),
    };
    names.iter().map(complete).collect()
}

/// The HTTP rules of a VirtualService with delegates put in the place of the rules that name them.
///
/// A delegate's rule applies where both its own and the delegating match hold; one level deep, as in Istio.
pub fn expanded_http(root: &VirtualService, snapshot: &Snapshot) -> Vec<Arc<HttpRoute>> {
    let (all, domain) = (&snapshot.virtual_services, snapshot.settings.domain.as_str());
    let mut rules = Vec::new();
    for rule in &root.object.spec.http {
        let Some(delegate) = &rule.delegate else {
            rules.push(Arc::new(rule.clone()));
            continue;
        };
        let namespace = if delegate.namespace.is_empty() { root.namespace() } else { &delegate.namespace };
        let Some(target) = all.get(namespace, &delegate.name) else { continue };
        if !target.is_delegate() || !target.export_to.allows(root.namespace()) {
            continue;
        }
        let names = Names { own_namespace: root.namespace(), namespace, domain };
        rules.extend(
            target.object.spec.http.iter().filter_map(|inner| merge(rule, inner, names)).map(Arc::new),
        );
    }
    rules
}

/// What short names mean.
#[derive(Clone, Copy)]
struct Names<'a> {
    /// The namespace of the rule that delegates.
    own_namespace: &'a str,
    /// The namespace of the delegate.
    namespace: &'a str,
    domain: &'a str,
}

/// A delegated rule under the match and the policies of the rule that delegates.
fn merge(outer: &HttpRoute, inner: &HttpRoute, names: Names<'_>) -> Option<HttpRoute> {
    let Names { own_namespace, namespace, domain } = names;
    let mut rule = inner.clone();
    rule.matches = match (outer.matches.is_empty(), inner.matches.is_empty()) {
        (true, _) => inner.matches.clone(),
        (false, true) => outer.matches.clone(),
        (false, false) => {
            let pairs = outer.matches.iter().flat_map(|o| inner.matches.iter().map(move |i| (o, i)));
            let merged: Vec<_> = pairs.filter_map(|(o, i)| delegate::merge_match(o, i)).collect();
            if merged.is_empty() {
                return None;
            }
            merged
        }
    };
    // Short names in a delegate belong to the delegate's namespace.
    let complete = |d: &mut Destination| d.host = host::resolve(&d.host, namespace, domain);
    rule.route.iter_mut().for_each(|r| complete(&mut r.destination));
    rule.mirror.iter_mut().for_each(complete);
    rule.mirrors.iter_mut().filter_map(|m| m.destination.as_mut()).for_each(complete);
    rule.rewrite = rule.rewrite.or_else(|| outer.rewrite.clone());
    rule.timeout = rule.timeout.or(outer.timeout);
    rule.retries = rule.retries.or_else(|| outer.retries.clone());
    rule.fault = rule.fault.or_else(|| outer.fault.clone());
    rule.cors_policy = rule.cors_policy.or_else(|| outer.cors_policy.clone());
    rule.headers = rule.headers.or_else(|| outer.headers.clone());
    rule.direct_response = rule.direct_response.or_else(|| outer.direct_response.clone());
    if rule.mirror.is_none() && rule.mirrors.is_empty() {
        // Names in the delegating rule belong to its own namespace.
        let complete = |d: &mut Destination| d.host = host::resolve(&d.host, own_namespace, domain);
        rule.mirror.clone_from(&outer.mirror);
        rule.mirrors.clone_from(&outer.mirrors);
        rule.mirror.iter_mut().for_each(complete);
        rule.mirrors.iter_mut().filter_map(|m| m.destination.as_mut()).for_each(complete);
    }
    rule.mirror_percent = rule.mirror_percent.or(outer.mirror_percent);
    rule.mirror_percentage = rule.mirror_percentage.or(outer.mirror_percentage);
    rule.name = match (outer.name.as_str(), rule.name.as_str()) {
        ("", own) => own.to_owned(),
        (outer, "") => outer.to_owned(),
        (outer, own) => format!("{outer}-{own}"),
    };
    Some(rule)
}

mod delegate;
