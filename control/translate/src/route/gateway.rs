//! Routes of gateways: the hosts of their servers, routed by the VirtualServices bound to them.

use std::collections::BTreeMap;

use meltemi_mesh::{ProxyView, Snapshot, host};
use meltemi_proto::envoy::config::route::v3;
use v3::virtual_host::TlsRequirementType;

use super::http::{self, At};
use super::{configuration, matching};
use crate::gateway::{Handling, Served, served, virtual_services};
use crate::names;
use crate::resource::Names;

/// The route configurations named, or all of the gateway.
pub fn routes(snapshot: &Snapshot, view: &ProxyView, wanted: &Names<'_>) -> Vec<v3::RouteConfiguration> {
    let by_port = served(view);
    let mut by_route: BTreeMap<String, Vec<&Served<'_>>> = BTreeMap::new();
    for server in by_port.values().flatten() {
        if matches!(server.handling, Handling::Http | Handling::Https) {
            by_route.entry(server.route_name()).or_default().push(server);
        }
    }
    let one = |name: &str| {
        let servers = by_route.get(name).map(Vec::as_slice).unwrap_or_default();
        configuration(name, virtual_hosts(snapshot, view, servers))
    };
    match wanted {
        Names::All => by_route.keys().map(|name| one(name)).collect(),
        Names::Only(names) => names.iter().map(|name| one(name)).collect(),
    }
}

/// A host of a gateway while rules are added to it.
#[derive(Default)]
struct Draft {
    routes: Vec<v3::Route>,
    https_only: bool,
}

fn virtual_hosts(snapshot: &Snapshot, view: &ProxyView, servers: &[&Served<'_>]) -> Vec<v3::VirtualHost> {
    let port = servers.first().map_or(0, |s| s.port);
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    for server in servers {
        let gateway = server.gateway_name();
        let at = At::Gateway { gateway: &gateway, number: server.number };
        let redirects = server.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        for vs in virtual_services(snapshot, view, server) {
            let shared = server.shared_hosts(vs);
            if shared.is_empty() || vs.object.spec.http.is_empty() {
                continue;
            }
            let routes = http::routes(snapshot, view, vs, at);
            for hostname in shared {
                let draft = drafts.entry(hostname).or_default();
                // The rules of an older VirtualService come first.
                draft.routes.extend(routes.iter().cloned());
                draft.https_only |= redirects;
            }
        }
        if redirects {
            for hostname in server.hosts() {
                drafts.entry(hostname.to_owned()).or_default().https_only = true;
            }
        }
    }
    let mut sorted: Vec<(String, Draft)> = drafts.into_iter().collect();
    sorted.sort_by(|a, b| host::specificity(&a.0, &b.0));
    let mut hosts: Vec<v3::VirtualHost> =
        sorted.into_iter().map(|(hostname, draft)| virtual_host(&hostname, port, draft)).collect();
    if hosts.is_empty() {
        // Envoy answers 404 where no route matches.
        let nothing = virtual_host("*", port, Draft::default());
        hosts.push(v3::VirtualHost { name: format!("{}:{port}", names::BLACKHOLE_VHOST), ..nothing });
    }
    hosts
}

fn virtual_host(hostname: &str, port: u16, draft: Draft) -> v3::VirtualHost {
    // Several VirtualServices may share the host: what takes every request must not stand before another's rules.
    let catches_all = |route: &v3::Route| route.r#match.as_ref().is_some_and(matching::is_catch_all);
    let (last, mut routes): (Vec<_>, Vec<_>) = draft.routes.into_iter().partition(catches_all);
    routes.extend(last);
    let domains = match host::is_wildcard(hostname) {
        true => vec![hostname.to_owned()],
        // Clients may reach the gateway through any port of a load balancer or node.
        false => vec![hostname.to_owned(), format!("{hostname}:*")],
    };
    let require_tls = if draft.https_only { TlsRequirementType::All } else { TlsRequirementType::None };
    v3::VirtualHost {
        name: format!("{hostname}:{port}"),
        domains,
        routes,
        require_tls: require_tls as i32,
        include_request_attempt_count: true,
        ..Default::default()
    }
}
