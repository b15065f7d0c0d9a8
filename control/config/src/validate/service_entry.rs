//! ServiceEntry.

use std::net::IpAddr;

use crate::istio::ServiceEntry;
use crate::istio::service_entry::Resolution;
use crate::path::Path;

use super::report::Report;
use super::{gateway, names, workload};

pub(super) fn check(spec: &ServiceEntry, path: &Path, report: &mut Report) {
    hosts(spec, &path.key("hosts"), report);
    for (position, address) in spec.addresses.iter().enumerate() {
        let path = path.key("addresses").index(position);
        report.name(&path, names::subnet(address));
        let dns = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
        if dns && address.parse::<ipnet::IpNet>().is_ok_and(|net| net.prefix_len() < net.max_prefix_len()) {
            report.error(
                &path,
                "a range of addresses cannot be resolved by DNS",
                "use resolution NONE or STATIC",
            );
        }
    }
    ports(spec, &path.key("ports"), report);
    endpoints(spec, path, report);
    names::export_to(&spec.export_to, &path.key("exportTo"), report);
}

fn hosts(spec: &ServiceEntry, path: &Path, report: &mut Report) {
    if spec.hosts.is_empty() {
        report.error(path, "no host is named", "name at least one");
    }
    for (position, host) in spec.hosts.iter().enumerate() {
        let path = path.index(position);
        if host == "*" {
            report.error(
                &path,
                "`*` would take all traffic",
                "name the hosts, or a suffix such as *.example.com",
            );
        }
        report.name(&path, names::wildcard_host(host));
        if spec.hosts[..position].contains(host) {
            report.error(&path, format!("host {host:?} stands twice"), "remove one");
        }
        let resolved = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
        if host.starts_with('*') && resolved && spec.endpoints.is_empty() && spec.workload_selector.is_none()
        {
            report.error(
                &path,
                "DNS cannot resolve a wildcard",
                "name `endpoints`, or use resolution NONE or DYNAMIC_DNS",
            );
        }
    }
}

fn ports(spec: &ServiceEntry, path: &Path, report: &mut Report) {
    if spec.ports.is_empty() {
        report.warning(path, "no port is named, so nothing reaches the service", "name its ports");
    }
    for (position, port) in spec.ports.iter().enumerate() {
        let path = path.index(position);
        report.port(&path.key("number"), port.number);
        if port.target_port != 0 {
            report.port(&path.key("targetPort"), port.target_port);
        }
        report.name(
            &path.key("name"),
            names::dns_label(&port.name).map_err(|_| format!("{:?} is no name of a port", port.name)),
        );
        if !port.protocol.is_empty() {
            gateway::protocol(&port.protocol, &path.key("protocol"), report);
        }
        let before = &spec.ports[..position];
        if before.iter().any(|other| other.number == port.number) {
            report.error(&path.key("number"), format!("port {} stands twice", port.number), "remove one");
        }
        if before.iter().any(|other| other.name == port.name) {
            report.error(
                &path.key("name"),
                format!("port name {:?} stands twice", port.name),
                "give each its own",
            );
        }
    }
    let tcp = |protocol: &str| matches!(protocol.to_ascii_uppercase().as_str(), "TCP" | "");
    let shared = spec.ports.iter().any(|port| tcp(&port.protocol)) && spec.addresses.is_empty();
    if shared && spec.resolution == Resolution::None {
        let message = "TCP without addresses takes all traffic of the port, whatever its destination";
        report.warning(path, message, "name `addresses`, or use protocol TLS or HTTP");
    }
}

fn endpoints(spec: &ServiceEntry, path: &Path, report: &mut Report) {
    let selector = spec.workload_selector.as_ref();
    if let Some(selector) = selector {
        names::labels(&selector.labels, &path.key("workloadSelector").key("labels"), report);
        if !spec.endpoints.is_empty() {
            report.error(path, "`workloadSelector` and `endpoints` exclude each other", "keep one of them");
        }
    }
    match spec.resolution {
        Resolution::None if !spec.endpoints.is_empty() => {
            report.error(
                &path.key("endpoints"),
                "resolution NONE goes where the client wanted",
                "use resolution STATIC or DNS",
            );
        }
        Resolution::Static if spec.endpoints.is_empty() && selector.is_none() => {
            report.error(
                &path.key("endpoints"),
                "resolution STATIC needs addresses",
                "name `endpoints`, or a `workloadSelector`",
            );
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            report.error(
                &path.key("endpoints"),
                "resolution DNS_ROUND_ROBIN has one endpoint",
                "use resolution DNS",
            );
        }
        _ => {}
    }
    for (position, endpoint) in spec.endpoints.iter().enumerate() {
        let path = path.key("endpoints").index(position);
        workload::entry(endpoint, &path, report);
        let unix = endpoint.address.starts_with("unix://");
        if spec.resolution == Resolution::Static && !unix && endpoint.address.parse::<IpAddr>().is_err() {
            let message = format!("resolution STATIC needs an IP address, not {:?}", endpoint.address);
            report.error(&path.key("address"), message, "use resolution DNS for host names");
        }
        for name in endpoint.ports.keys() {
            if spec.ports.iter().all(|port| port.name != *name) {
                report.error(
                    &path.key("ports").key(name),
                    format!("the service has no port {name:?}"),
                    "name one of `spec.ports`",
                );
            }
        }
    }
}
