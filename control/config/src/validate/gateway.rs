//! Gateway.

use crate::istio::Gateway;
use crate::istio::gateway::{Server, ServerTlsMode};
use crate::path::Path;

use super::report::Report;
use super::{names, tls};

/// Protocols that a port can have.
pub(super) const PROTOCOLS: &[&str] = &[
    "HTTP",
    "HTTPS",
    "HTTP2",
    "HTTP_PROXY",
    "GRPC",
    "GRPC-WEB",
    "GRPC-WEB-TEXT",
    "TCP",
    "TLS",
    "UDP",
    "MONGO",
    "REDIS",
    "MYSQL",
    "HBONE",
];

pub(super) fn check(spec: &Gateway, path: &Path, report: &mut Report) {
    if spec.servers.is_empty() {
        report.error(&path.key("servers"), "there is no server", "add at least one");
    }
    if spec.selector.is_empty() {
        let cure = "add `selector`, such as `istio: ingressgateway`";
        report.warning(path, "no selector: every proxy of the mesh would serve it", cure);
    }
    names::labels(&spec.selector, &path.key("selector"), report);
    for (position, server) in spec.servers.iter().enumerate() {
        let path = path.key("servers").index(position);
        self::server(server, &path, report);
        let name = |server: &Server| {
            server.port.as_ref().map(|port| port.name.clone()).filter(|name| !name.is_empty())
        };
        if let Some(own) = name(server)
            && spec.servers[..position].iter().any(|before| name(before).as_ref() == Some(&own))
        {
            let path = path.key("port").key("name");
            report.error(
                &path,
                format!("port name {own:?} stands twice"),
                "give each server's port its own name",
            );
        }
    }
}

fn server(server: &Server, path: &Path, report: &mut Report) {
    if server.hosts.is_empty() {
        report.error(&path.key("hosts"), "no host is named", "name them, or `*` for all");
    }
    for (position, host) in server.hosts.iter().enumerate() {
        report.name(&path.key("hosts").index(position), names::gateway_host(host));
    }
    let Some(port) = &server.port else {
        report.error(&path.key("port"), "the port is missing", "write number, name and protocol");
        return;
    };
    let port_path = path.key("port");
    report.port(&port_path.key("number"), port.number);
    report.required(&port_path.key("name"), &port.name, "the port's name");
    protocol(&port.protocol, &port_path.key("protocol"), report);
    if port.protocol.eq_ignore_ascii_case("UDP") {
        report.error(
            &port_path.key("protocol"),
            "gateways do not serve UDP",
            "use TCP, TLS or a kind of HTTP",
        );
    }
    transport(server, &port.protocol.to_ascii_uppercase(), path, report);
    if !server.default_endpoint.is_empty() {
        super::sidecar::endpoint(&server.default_endpoint, &path.key("defaultEndpoint"), report);
    }
}

pub(super) fn protocol(protocol: &str, path: &Path, report: &mut Report) {
    if protocol.is_empty() {
        report.error(path, "the protocol is missing", "write HTTP, HTTPS, TCP, TLS or another");
    } else if !PROTOCOLS.contains(&protocol.to_ascii_uppercase().as_str()) {
        let cure = match crate::suggest::nearest(protocol, PROTOCOLS) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write one of {}", PROTOCOLS.join(", ")),
        };
        report.error(path, format!("{protocol:?} is no protocol"), cure);
    }
}

fn transport(server: &Server, protocol: &str, path: &Path, report: &mut Report) {
    let tls_path = path.key("tls");
    match (&server.tls, protocol) {
        (None, "HTTPS" | "TLS") => {
            report.error(
                &tls_path,
                format!("protocol {protocol} needs TLS settings"),
                "add `tls` with a `mode`",
            );
        }
        (Some(settings), "HTTPS" | "TLS") => {
            if settings.https_redirect {
                let cure = "set it on the server of the HTTP port";
                report.error(
                    &tls_path.key("httpsRedirect"),
                    "only plain HTTP can be redirected to HTTPS",
                    cure,
                );
            }
            if *settings == Default::default() {
                let cure = "set `mode` to SIMPLE, MUTUAL, PASSTHROUGH or another";
                report.warning(&tls_path, "no mode is set, so TLS is passed through", cure);
            } else if settings.mode() != ServerTlsMode::AutoPassthrough {
                tls::server(settings, &tls_path, report);
            }
        }
        (Some(settings), "HTTP" | "HTTP2" | "GRPC") if !settings.https_redirect => {
            let cure = "use protocol HTTPS, or set `httpsRedirect: true`";
            report.error(&tls_path, format!("protocol {protocol} has no TLS"), cure);
        }
        (Some(settings), _) if !settings.https_redirect => tls::server(settings, &tls_path, report),
        _ => {}
    }
}
