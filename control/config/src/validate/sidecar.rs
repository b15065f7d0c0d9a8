//! Sidecar.

use crate::istio::Sidecar;
use crate::istio::sidecar::{CaptureMode, SidecarPort};
use crate::path::Path;

use super::report::Report;
use super::{gateway, names, tls, traffic_policy};

pub(super) fn check(spec: &Sidecar, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.workload_selector {
        names::labels(&selector.labels, &path.key("workloadSelector").key("labels"), report);
    }
    ingress(spec, &path.key("ingress"), report);
    egress(spec, &path.key("egress"), report);
    traffic_policy::connection_pool(
        spec.inbound_connection_pool.as_ref(),
        &path.key("inboundConnectionPool"),
        report,
    );
}

fn ingress(spec: &Sidecar, path: &Path, report: &mut Report) {
    for (position, listener) in spec.ingress.iter().enumerate() {
        let path = path.index(position);
        let Some(port) = &listener.port else {
            report.error(&path.key("port"), "the port is missing", "write number, name and protocol");
            continue;
        };
        self::port(port, &path.key("port"), report);
        let number = |other: &Option<SidecarPort>| other.as_ref().map(|port| port.number);
        if spec.ingress[..position].iter().any(|before| number(&before.port) == Some(port.number)) {
            report.error(
                &path.key("port"),
                format!("port {} stands twice", port.number),
                "put the listeners together",
            );
        }
        bind(&listener.bind, &path.key("bind"), report);
        if !listener.default_endpoint.is_empty() {
            endpoint(&listener.default_endpoint, &path.key("defaultEndpoint"), report);
        }
        if let Some(settings) = &listener.tls {
            tls::server(settings, &path.key("tls"), report);
        }
        traffic_policy::connection_pool(
            listener.connection_pool.as_ref(),
            &path.key("connectionPool"),
            report,
        );
    }
}

fn egress(spec: &Sidecar, path: &Path, report: &mut Report) {
    let last = spec.egress.len().saturating_sub(1);
    for (position, listener) in spec.egress.iter().enumerate() {
        let path = path.index(position);
        match &listener.port {
            Some(port) => self::port(port, &path.key("port"), report),
            None if position != last => {
                report.error(&path, "the listener without a port takes what the others leave", "put it last");
            }
            None => {}
        }
        if listener.hosts.is_empty() {
            report.error(&path.key("hosts"), "no host is named", "name them, such as ./* and istio-system/*");
        }
        for (position, host) in listener.hosts.iter().enumerate() {
            report.name(&path.key("hosts").index(position), names::sidecar_host(host));
        }
        bind(&listener.bind, &path.key("bind"), report);
        let unix = listener.bind.starts_with("unix://");
        if unix && listener.capture_mode == CaptureMode::Iptables {
            report.error(&path.key("captureMode"), "a Unix socket is not captured", "use DEFAULT or NONE");
        }
    }
}

fn port(port: &SidecarPort, path: &Path, report: &mut Report) {
    report.port(&path.key("number"), port.number);
    gateway::protocol(&port.protocol, &path.key("protocol"), report);
    if !port.name.is_empty() {
        report.name(&path.key("name"), names::dns_label(&port.name));
    }
}

fn bind(bind: &str, path: &Path, report: &mut Report) {
    let good = bind.is_empty() || bind.starts_with("unix://") || bind.parse::<std::net::IpAddr>().is_ok();
    if !good {
        report.error(path, format!("{bind:?} is no IP address and no unix:// path"), "");
    }
}

/// `127.0.0.1:port`, `0.0.0.0:port`, the same for IPv6, or `unix://path`.
pub(super) fn endpoint(text: &str, path: &Path, report: &mut Report) {
    if text.strip_prefix("unix://").is_some_and(|path| path.starts_with('/') || path.starts_with('@')) {
        return;
    }
    let allowed = ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"];
    let port = allowed.iter().find_map(|host| text.strip_prefix(host)?.strip_prefix(':'));
    if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
        let cure = "write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT or unix:///path";
        report.error(path, format!("{text:?} is no endpoint of the own pod"), cure);
    }
}
