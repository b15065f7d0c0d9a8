//! VirtualService.

use crate::istio::VirtualService;
use crate::istio::virtual_service::{Destination, L4MatchAttributes, RouteDestination, TlsMatchAttributes};
use crate::path::Path;

use super::names;
use super::report::Report;
use super::{http_route, match_request};

/// What a VirtualService is bound to where it names no gateway.
const MESH: &str = "mesh";

pub(super) fn check(spec: &VirtualService, path: &Path, report: &mut Report) {
    // Without hosts and gateways it is a delegate: only the routes that other VirtualServices use.
    let delegate = spec.hosts.is_empty() && spec.gateways.is_empty();
    if spec.hosts.is_empty() && !delegate {
        report.error(
            &path.key("hosts"),
            "no host is named",
            "name at least one, or remove `gateways` to make it a delegate",
        );
    }
    hosts(spec, &path.key("hosts"), report);
    gateways(&spec.gateways, &path.key("gateways"), report);
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        report.error(path, "there is no route", "add `http`, `tls` or `tcp`");
    }
    if delegate && !(spec.tls.is_empty() && spec.tcp.is_empty()) {
        report.error(path, "a delegate holds HTTP routes only", "name `hosts`, or remove `tls` and `tcp`");
    }
    for (position, route) in spec.http.iter().enumerate() {
        http_route::check(route, delegate, &path.key("http").index(position), report);
    }
    http_route::unreachable(&spec.http, &path.key("http"), report);
    for (position, route) in spec.tls.iter().enumerate() {
        let path = path.key("tls").index(position);
        if route.matches.is_empty() {
            report.error(&path, "a TLS route needs a match", "add `match` with `sniHosts`");
        }
        for (position, attributes) in route.matches.iter().enumerate() {
            tls_match(attributes, spec, &path.key("match").index(position), report);
        }
        routes(&route.route, &path.key("route"), report);
    }
    for (position, route) in spec.tcp.iter().enumerate() {
        let path = path.key("tcp").index(position);
        for (position, attributes) in route.matches.iter().enumerate() {
            tcp_match(attributes, &path.key("match").index(position), report);
        }
        routes(&route.route, &path.key("route"), report);
    }
    names::export_to(&spec.export_to, &path.key("exportTo"), report);
}

fn hosts(spec: &VirtualService, path: &Path, report: &mut Report) {
    let mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == MESH);
    for (position, host) in spec.hosts.iter().enumerate() {
        let path = path.index(position);
        if host == "*" && mesh {
            report.error(
                &path,
                "`*` is only for gateways",
                "name the hosts, or bind it to a gateway with `gateways`",
            );
        }
        if host.parse::<std::net::IpAddr>().is_err() {
            report.name(&path, names::wildcard_host(host));
        }
        if spec.hosts[..position].contains(host) {
            report.error(&path, format!("host {host:?} stands twice"), "remove one");
        }
    }
}

pub(super) fn gateways(gateways: &[String], path: &Path, report: &mut Report) {
    for (position, gateway) in gateways.iter().enumerate() {
        let path = path.index(position);
        let (namespace, name) = gateway.split_once('/').unwrap_or((".", gateway));
        if namespace != "." {
            report.name(&path, names::object_name(namespace));
        }
        report.name(&path, names::object_name(name));
    }
}

fn tls_match(attributes: &TlsMatchAttributes, spec: &VirtualService, path: &Path, report: &mut Report) {
    if attributes.sni_hosts.is_empty() {
        report.error(&path.key("sniHosts"), "a TLS match needs SNI hosts", "name them");
    }
    for (position, sni) in attributes.sni_hosts.iter().enumerate() {
        let path = path.key("sniHosts").index(position);
        report.name(&path, names::wildcard_host(sni));
        if !spec.hosts.iter().any(|host| covers(host, sni)) {
            report.error(&path, format!("SNI host {sni:?} is none of the hosts"), "add it to `spec.hosts`");
        }
    }
    let l4 = L4MatchAttributes {
        destination_subnets: attributes.destination_subnets.clone(),
        port: attributes.port,
        source_labels: attributes.source_labels.clone(),
        source_namespace: attributes.source_namespace.clone(),
        gateways: attributes.gateways.clone(),
        ..L4MatchAttributes::default()
    };
    tcp_match(&l4, path, report);
}

/// Whether a host, perhaps with a wildcard, covers another.
fn covers(pattern: &str, host: &str) -> bool {
    pattern == host
        || pattern.strip_prefix('*').is_some_and(|suffix| host.trim_start_matches('*').ends_with(suffix))
}

fn tcp_match(attributes: &L4MatchAttributes, path: &Path, report: &mut Report) {
    for (position, subnet) in attributes.destination_subnets.iter().enumerate() {
        report.name(&path.key("destinationSubnets").index(position), names::subnet(subnet));
    }
    if !attributes.source_subnet.is_empty() {
        report.name(&path.key("sourceSubnet"), names::subnet(&attributes.source_subnet));
    }
    match_request::port(attributes.port, &path.key("port"), report);
    names::labels(&attributes.source_labels, &path.key("sourceLabels"), report);
    gateways(&attributes.gateways, &path.key("gateways"), report);
}

fn routes(routes: &[RouteDestination], path: &Path, report: &mut Report) {
    if routes.is_empty() {
        report.error(path, "no destination is named", "add at least one");
    }
    for (position, route) in routes.iter().enumerate() {
        destination(&route.destination, &path.index(position).key("destination"), report);
    }
    weights(routes.iter().map(|route| route.weight), path, report);
}

/// Weights are shares of their sum, so the sum must not be 0 where there is a choice.
pub(super) fn weights(weights: impl ExactSizeIterator<Item = i32>, path: &Path, report: &mut Report) {
    let several = weights.len() > 1;
    let mut sum = 0i64;
    for (position, weight) in weights.enumerate() {
        report.not_negative(&path.index(position).key("weight"), weight);
        sum += i64::from(weight.max(0));
    }
    if several && sum == 0 {
        report.error(
            path,
            "the weights of the destinations sum to 0",
            "give at least one a `weight`; usual is a sum of 100",
        );
    }
}

pub(super) fn destination(destination: &Destination, path: &Path, report: &mut Report) {
    let host = &destination.host;
    if host.contains('*') {
        report.error(
            &path.key("host"),
            format!("{host:?}: traffic cannot go to a wildcard"),
            "name one host",
        );
    } else if host.parse::<std::net::IpAddr>().is_err() {
        report.name(&path.key("host"), names::fqdn(host));
    }
    if !destination.subset.is_empty() {
        report.name(&path.key("subset"), names::dns_label(&destination.subset));
    }
    if let Some(port) = &destination.port {
        report.port(&path.key("port").key("number"), port.number);
    }
}
