//! DestinationRules: which one applies to a host seen from a namespace.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use meltemi_config::Object;
use meltemi_config::istio::DestinationRule as Spec;
use meltemi_config::istio::destination_rule::{
    ClientTlsSettings, ConnectionPoolSettings, LoadBalancerSettings, OutlierDetection, PortTrafficPolicy,
    Subset, TrafficPolicy,
};

use crate::export::ExportTo;
use crate::host;
use crate::labels::{self, Labels};
use crate::shard::{ByNamespace, Namespace};

/// One rule, or several about the same host put together.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    /// The host, complete; may be a wildcard.
    pub host: String,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Only for these clients of the own namespace.
    pub workload_selector: Option<Labels>,
    /// The policy of the oldest object that has one.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Subsets of all objects, the oldest first; a name counts once.
    pub subsets: Vec<Subset>,
    /// `(namespace, name)` of the objects, the oldest first.
    pub sources: Vec<(String, String)>,
}

impl DestinationRule {
    /// Reads an object.
    pub fn of(object: &Object<Spec>, domain: &str, default_export: &ExportTo) -> DestinationRule {
        let (meta, spec) = (&object.meta, &object.spec);
        DestinationRule {
            host: host::resolve(&spec.host, &meta.namespace, domain),
            export_to: ExportTo::read(&spec.export_to, &meta.namespace, default_export),
            workload_selector: spec.workload_selector.as_ref().map(|s| s.match_labels.clone()),
            traffic_policy: spec.traffic_policy.clone(),
            subsets: spec.subsets.clone(),
            sources: vec![(meta.namespace.clone(), meta.name.clone())],
        }
    }

    /// The subset of that name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// The policy for a port, of the whole host or of a subset. A subset's fields go before the host's; what a subset
    /// says of the port itself stands alone, as a port's settings always do.
    pub fn policy(&self, subset: Option<&str>, port: u16) -> Policy {
        let host = Policy::of(self.traffic_policy.as_ref(), port);
        match subset.and_then(|name| self.subset(name)).and_then(|s| s.traffic_policy.as_ref()) {
            Some(own) if port_level(own, port).is_some() => Policy::of(Some(own), port),
            Some(own) => Policy::of(Some(own), port).over(host),
            None => host,
        }
    }

    fn absorb(&mut self, later: &DestinationRule) {
        for subset in &later.subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset.clone());
            }
        }
        if self.traffic_policy.is_none() {
            self.traffic_policy.clone_from(&later.traffic_policy);
        }
        self.sources.extend(later.sources.iter().cloned());
    }
}

/// What is left of a traffic policy when the port is known.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Policy {
    pub load_balancer: Option<LoadBalancerSettings>,
    pub connection_pool: Option<ConnectionPoolSettings>,
    pub outlier_detection: Option<OutlierDetection>,
    pub tls: Option<ClientTlsSettings>,
}

impl Policy {
    /// The policy of a port: its own settings, which stand alone, else those around them. Fields that a port's settings
    /// leave out take their defaults, as Istio documents.
    pub fn of(policy: Option<&TrafficPolicy>, port: u16) -> Policy {
        let Some(policy) = policy else { return Policy::default() };
        let whole = Policy {
            load_balancer: policy.load_balancer.clone(),
            connection_pool: policy.connection_pool.clone(),
            outlier_detection: policy.outlier_detection.clone(),
            tls: policy.tls.clone(),
        };
        match port_level(policy, port) {
            Some(level) => Policy {
                load_balancer: level.load_balancer.clone(),
                connection_pool: level.connection_pool.clone(),
                outlier_detection: level.outlier_detection.clone(),
                tls: level.tls.clone(),
            },
            None => whole,
        }
    }

    /// Fields of `self`, and of `other` where `self` has none.
    pub fn over(self, other: Policy) -> Policy {
        Policy {
            load_balancer: self.load_balancer.or(other.load_balancer),
            connection_pool: self.connection_pool.or(other.connection_pool),
            outlier_detection: self.outlier_detection.or(other.outlier_detection),
            tls: self.tls.or(other.tls),
        }
    }
}

fn port_level(policy: &TrafficPolicy, port: u16) -> Option<&PortTrafficPolicy> {
    let is_this =
        |level: &&PortTrafficPolicy| level.port.as_ref().is_some_and(|p| p.number == u32::from(port));
    policy.port_level_settings.iter().find(is_this)
}

/// The rules of one namespace about one host.
#[derive(Debug, Clone, Default, PartialEq)]
struct HostRules {
    /// Creation time and rule of every object, the oldest first.
    objects: Vec<(String, Arc<DestinationRule>)>,
    /// The same put together as far as they can be.
    merged: Vec<Arc<DestinationRule>>,
}

impl HostRules {
    fn merge(&mut self) {
        self.objects.sort_by(|a, b| (&a.0, &a.1.sources).cmp(&(&b.0, &b.1.sources)));
        self.merged.clear();
        for (_, rule) in &self.objects {
            let mergeable = |r: &&mut Arc<DestinationRule>| {
                r.workload_selector.is_none()
                    && rule.workload_selector.is_none()
                    && r.export_to == rule.export_to
            };
            match self.merged.iter_mut().find(mergeable) {
                Some(older) => Arc::make_mut(older).absorb(rule),
                None => self.merged.push(rule.clone()),
            }
        }
    }

    /// The rule to use. One for selected clients is narrower than one for all.
    fn pick(&self, usable: impl Fn(&DestinationRule) -> bool) -> Option<&Arc<DestinationRule>> {
        let selected = self.merged.iter().find(|r| r.workload_selector.is_some() && usable(r));
        selected.or_else(|| self.merged.iter().find(|r| usable(r)))
    }
}

/// The rules of one namespace by host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamespaceRules {
    by_host: BTreeMap<Arc<str>, Arc<HostRules>>,
}

impl NamespaceRules {
    /// Replaces what one object says about a host.
    fn set(&mut self, host: &str, source: &(String, String), rule: Option<(String, Arc<DestinationRule>)>) {
        let rules = self.by_host.entry(host.into()).or_default();
        let rules = Arc::make_mut(rules);
        rules.objects.retain(|(_, held)| !held.sources.contains(source));
        rules.objects.extend(rule);
        rules.merge();
        if rules.objects.is_empty() {
            self.by_host.remove(host);
        }
    }

    fn find(
        &self,
        hostname: &str,
        usable: impl Fn(&DestinationRule) -> bool,
    ) -> Option<&Arc<DestinationRule>> {
        if let Some(found) = self.by_host.get(hostname).and_then(|rules| rules.pick(&usable)) {
            return Some(found);
        }
        // Wildcards sort before names, so only the head of the map is walked.
        let wildcards = self.by_host.range::<str, _>((Bound::Included("*"), Bound::Included("*~")));
        let usable_ones = wildcards.filter_map(|(host, rules)| Some((&**host, rules.pick(&usable)?)));
        host::most_specific(hostname, usable_ones).map(|(_, rule)| rule)
    }
}

/// All rules, indexed by namespace and host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DestinationRules {
    objects: ByNamespace<DestinationRule>,
    index: Arc<BTreeMap<Namespace, Arc<NamespaceRules>>>,
}

impl DestinationRules {
    /// Sets or removes an object, with its creation time.
    pub fn set(&mut self, namespace: &str, name: &str, rule: Option<(String, Arc<DestinationRule>)>) {
        let before = self.objects.set(namespace, name, rule.as_ref().map(|(_, rule)| rule.clone()));
        let source = (namespace.to_owned(), name.to_owned());
        let index = Arc::make_mut(&mut self.index);
        let rules = Arc::make_mut(index.entry(namespace.into()).or_default());
        if let Some(before) = before.filter(|b| rule.as_ref().is_none_or(|(_, r)| r.host != b.host)) {
            rules.set(&before.host, &source, None);
        }
        if let Some((created, rule)) = rule {
            rules.set(&rule.host.clone(), &source, Some((created, rule)));
        }
        if rules.by_host.is_empty() {
            index.remove(namespace);
        }
    }

    /// One object's rule, before it is put together with others.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<DestinationRule>> {
        self.objects.get(namespace, name)
    }

    /// The rule for a service as a client sees it: the client's namespace, then the service's, then the root's.
    ///
    /// Rules of the root namespace that all may see are meant for the whole mesh. They do not come first for clients
    /// that happen to live there (gateways often do): of those it is only the private ones that do.
    pub fn find(
        &self,
        client: &Client<'_>,
        hostname: &str,
        service_namespace: &str,
    ) -> Option<&Arc<DestinationRule>> {
        let in_root = client.namespace == client.root_namespace;
        let order = [(client.namespace, in_root), (service_namespace, false), (client.root_namespace, false)];
        for (namespace, private_only) in order {
            let Some(rules) = self.index.get(namespace) else { continue };
            let own = namespace == client.namespace;
            let usable = |rule: &DestinationRule| {
                let selected =
                    rule.workload_selector.as_ref().is_none_or(|s| own && labels::contains(client.labels, s));
                let private = rule.export_to.is_only(namespace);
                selected && rule.export_to.allows(client.namespace) && (private || !private_only)
            };
            if let Some(rule) = rules.find(hostname, usable) {
                return Some(rule);
            }
        }
        None
    }
}

/// Who asks for a rule.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Namespace of the client.
    pub namespace: &'a str,
    /// Labels of the client.
    pub labels: &'a Labels,
    /// The mesh's root namespace.
    pub root_namespace: &'a str,
}
