//! Routes of sidecars: one configuration a port, one virtual host a service.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_mesh::service::Service;
use meltemi_mesh::{Port, Protocol, ProxyView, Snapshot, VirtualService, host};
use meltemi_proto::envoy::config::route::v3;
use v3::route::Action;

use super::http::{self, At};
use super::{action, configuration, domains, matching};
use crate::names;

/// The port on which hosts that no service has are routed: the one of plain HTTP.
const HTTP_PORT: u16 = 80;

/// Names of all route configurations that a sidecar's listeners ask for.
pub fn names(view: &ProxyView) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for service in view.services.iter() {
        for port in &service.ports {
            if port.protocol.is_http() {
                names.insert(port.number.to_string());
            } else if port.protocol == Protocol::Auto && !view.addresses(service).is_empty() {
                names.insert(format!("{}:{}", service.key.hostname, port.number));
            } else if port.protocol == Protocol::Auto {
                names.insert(port.number.to_string());
            }
        }
    }
    names
}

/// The route configurations named.
pub fn routes<'n>(
    snapshot: &Snapshot,
    view: &ProxyView,
    names: impl Iterator<Item = &'n String>,
) -> Vec<v3::RouteConfiguration> {
    let routed = Routed::of(snapshot, view);
    names.map(|name| route(snapshot, view, &routed, name)).collect()
}

/// The virtual host of one port of a service, as a sidecar would have it.
pub fn of_service(
    snapshot: &Snapshot,
    view: &ProxyView,
    service: &Service,
    port: &Port,
) -> Vec<v3::VirtualHost> {
    let routed = Routed::of(snapshot, view);
    let mut hosts = Hosts { snapshot, view, routed: &routed, domains: BTreeSet::new(), list: Vec::new() };
    hosts.add_service(service, port);
    hosts.list
}

/// One route configuration: `9080`, or `host:port` of a service whose protocol is sniffed.
fn route(snapshot: &Snapshot, view: &ProxyView, routed: &Routed<'_>, name: &str) -> v3::RouteConfiguration {
    let (only, port) = match name.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, name),
    };
    let mut hosts = Hosts { snapshot, view, routed, domains: BTreeSet::new(), list: Vec::new() };
    if let Ok(port) = port.parse::<u16>() {
        hosts.add_port(port, only);
    }
    match hosts.list.as_mut_slice() {
        // The listener is bound to the service's own address, so whatever the client calls it, it means the service.
        [of_service] if only.is_some() => of_service.domains = vec!["*".to_owned()],
        _ => hosts.add_unknown(),
    }
    configuration(name, hosts.list)
}

/// Virtual hosts while they are collected. A domain belongs to the first that claims it: Envoy refuses duplicates.
struct Hosts<'a> {
    snapshot: &'a Snapshot,
    view: &'a ProxyView,
    routed: &'a Routed<'a>,
    domains: BTreeSet<String>,
    list: Vec<v3::VirtualHost>,
}

impl Hosts<'_> {
    fn add_port(&mut self, number: u16, only: Option<&str>) {
        let view = self.view;
        let speaks_http =
            |p: &&Port| p.number == number && (p.protocol.is_http() || p.protocol == Protocol::Auto);
        let mut add = |service: &Service| {
            if let Some(port) = service.ports.iter().find(speaks_http) {
                self.add_service(service, port);
            }
        };
        match only {
            Some(hostname) => view.service(hostname).into_iter().for_each(|service| add(service)),
            None => view.services.iter().for_each(|service| add(service)),
        }
        if number == HTTP_PORT && only.is_none() {
            self.add_hosts_without_service();
        }
    }

    fn add_service(&mut self, service: &Service, port: &Port) {
        let hostname = &service.key.hostname;
        let routes = match self.routed.find(hostname) {
            Some(vs) => http::routes(self.snapshot, self.view, vs, At::Mesh { port: port.number }),
            None => vec![self.plain(service, port)],
        };
        let domains = domains::of_service(self.snapshot, self.view, service, port.number);
        self.push(format!("{hostname}:{}", port.number), domains, routes);
    }

    /// Hosts that VirtualServices name and no service has.
    fn add_hosts_without_service(&mut self) {
        for (hostname, vs) in self.routed.all() {
            let known = match host::is_wildcard(hostname) {
                true => self.view.services.iter().any(|s| host::covered_by(&s.key.hostname, hostname)),
                false => self.view.service(hostname).is_some(),
            };
            if !known {
                let routes = http::routes(self.snapshot, self.view, vs, At::Mesh { port: HTTP_PORT });
                let domains = domains::of_name(self.snapshot, self.view, hostname, HTTP_PORT);
                self.push(format!("{hostname}:{HTTP_PORT}"), domains, routes);
            }
        }
    }

    fn plain(&self, service: &Service, port: &Port) -> v3::Route {
        let hostname = &service.key.hostname;
        let cluster = names::outbound(port.number, "", hostname);
        let hash = action::hash_of(self.snapshot, self.view, hostname, None, port.number);
        let operation = format!("{hostname}:{}/*", port.number);
        v3::Route {
            name: "default".to_owned(),
            r#match: Some(matching::any_request()),
            decorator: Some(v3::Decorator { operation, ..Default::default() }),
            action: Some(Action::Route(action::forward_plain(self.snapshot, cluster, hash))),
            ..Default::default()
        }
    }

    fn push(&mut self, name: String, domains: Vec<String>, routes: Vec<v3::Route>) {
        let domains: Vec<String> = domains.into_iter().filter(|d| self.domains.insert(d.clone())).collect();
        if domains.is_empty() || routes.is_empty() {
            return;
        }
        self.list.push(v3::VirtualHost {
            name,
            domains,
            routes,
            include_request_attempt_count: true,
            ..Default::default()
        });
    }

    /// What happens to hosts that nobody knows.
    fn add_unknown(&mut self) {
        let (name, action) = if self.view.allow_any {
            let mut forward = v3::RouteAction {
                cluster_specifier: Some(v3::route_action::ClusterSpecifier::Cluster(
                    names::PASSTHROUGH.to_owned(),
                )),
                ..Default::default()
            };
            action::timeout(&mut forward, None);
            (names::ALLOW_ANY, Action::Route(forward))
        } else {
            let refuse = v3::DirectResponseAction { status: 502, ..Default::default() };
            (names::BLOCK_ALL, Action::DirectResponse(refuse))
        };
        let route = v3::Route {
            name: name.to_owned(),
            r#match: Some(matching::any_request()),
            action: Some(action),
            ..Default::default()
        };
        self.push(name.to_owned(), vec!["*".to_owned()], vec![route]);
    }
}

/// VirtualServices with `http` rules by host. Of several for one host the oldest counts.
struct Routed<'a> {
    exact: BTreeMap<&'a str, &'a VirtualService>,
    /// Longest, that is most specific, first.
    wildcards: Vec<(&'a str, &'a VirtualService)>,
}

impl<'a> Routed<'a> {
    fn of(snapshot: &'a Snapshot, view: &'a ProxyView) -> Routed<'a> {
        let mut routed = Routed { exact: BTreeMap::new(), wildcards: Vec::new() };
        for vs in view.mesh_virtual_services(snapshot).filter(|vs| !vs.object.spec.http.is_empty()) {
            for hostname in &vs.hosts {
                if host::is_wildcard(hostname) {
                    routed.wildcards.push((hostname, vs));
                } else {
                    routed.exact.entry(hostname).or_insert(vs);
                }
            }
        }
        // The sort is stable, so of equal patterns the oldest stays first.
        routed.wildcards.sort_by(|a, b| host::specificity(a.0, b.0));
        routed.wildcards.dedup_by(|later, first| later.0 == first.0);
        routed
    }

    /// The VirtualService of a host: the most specific name wins.
    fn find(&self, hostname: &str) -> Option<&'a VirtualService> {
        let covering = || self.wildcards.iter().find(|(pattern, _)| host::covered_by(hostname, pattern));
        self.exact.get(hostname).copied().or_else(|| covering().map(|(_, vs)| *vs))
    }

    fn all(&self) -> impl Iterator<Item = (&'a str, &'a VirtualService)> {
        self.exact.iter().map(|(hostname, vs)| (*hostname, *vs)).chain(self.wildcards.iter().copied())
    }
}
