//! Routes of sidecars: one configuration a port, one virtual host a service.

use std::collections::BTreeSet;

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
            } else if port.protocol == Protocol::Auto && !service.addresses.is_empty() {
                names.insert(format!("{}:{}", service.key.hostname, port.number));
            } else if port.protocol == Protocol::Auto {
                names.insert(port.number.to_string());
            }
        }
    }
    names
}

/// One route configuration: `9080`, or `host:port` of a service whose protocol is sniffed.
pub fn route(snapshot: &Snapshot, view: &ProxyView, name: &str) -> v3::RouteConfiguration {
    let (only, port) = match name.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, name),
    };
    let mut hosts = Hosts { snapshot, view, domains: BTreeSet::new(), list: Vec::new() };
    if let Ok(port) = port.parse::<u16>() {
        hosts.add_port(port, only);
    }
    hosts.add_unknown();
    configuration(name, hosts.list)
}

/// Virtual hosts while they are collected. A domain belongs to the first that claims it: Envoy refuses duplicates.
struct Hosts<'a> {
    snapshot: &'a Snapshot,
    view: &'a ProxyView,
    domains: BTreeSet<String>,
    list: Vec<v3::VirtualHost>,
}

impl<'a> Hosts<'a> {
    fn add_port(&mut self, number: u16, only: Option<&str>) {
        let routed: Vec<&'a VirtualService> =
            self.view.mesh_virtual_services(self.snapshot).map(std::convert::AsRef::as_ref).collect();
        let speaks_http =
            |p: &&Port| p.number == number && (p.protocol.is_http() || p.protocol == Protocol::Auto);
        for service in self.view.services.iter() {
            let wanted = only.is_none_or(|only| only == service.key.hostname);
            if let Some(port) = service.ports.iter().find(speaks_http).filter(|_| wanted) {
                self.add_service(service, port, &routed);
            }
        }
        if number == HTTP_PORT && only.is_none() {
            self.add_hosts_without_service(&routed);
        }
    }

    fn add_service(&mut self, service: &Service, port: &Port, routed: &[&VirtualService]) {
        let hostname = &service.key.hostname;
        let own = find(routed, hostname);
        let routes = match own {
            Some(vs) => http::routes(self.snapshot, self.view, vs, At::Mesh { port: port.number }),
            None => vec![self.plain(service, port)],
        };
        let domains = domains::of_service(self.snapshot, self.view, service, port.number);
        self.push(format!("{hostname}:{}", port.number), domains, routes);
    }

    /// Hosts that VirtualServices name and no service has.
    fn add_hosts_without_service(&mut self, routed: &[&VirtualService]) {
        for vs in routed {
            if vs.object.spec.http.is_empty() {
                continue;
            }
            for hostname in &vs.hosts {
                let known = self.view.services.iter().any(|s| host::covered_by(&s.key.hostname, hostname));
                if known {
                    continue;
                }
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

/// The VirtualService of a host: the most specific name wins, then the oldest.
fn find<'a>(routed: &[&'a VirtualService], hostname: &str) -> Option<&'a VirtualService> {
    let mut best: Option<(&str, &'a VirtualService)> = None;
    for vs in routed.iter().filter(|vs| !vs.object.spec.http.is_empty()) {
        for pattern in vs.hosts.iter().filter(|pattern| host::covered_by(hostname, pattern)) {
            if best.is_none_or(|(held, _)| narrower(pattern, held)) {
                best = Some((pattern, vs));
            }
        }
    }
    best.map(|(_, vs)| vs)
}

fn narrower(a: &str, b: &str) -> bool {
    (host::is_wildcard(b) && !host::is_wildcard(a))
        || (host::is_wildcard(a) && host::is_wildcard(b) && a.len() > b.len())
}
