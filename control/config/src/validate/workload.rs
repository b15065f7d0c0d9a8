//! WorkloadEntry and WorkloadGroup.

use std::net::IpAddr;

use crate::istio::{WorkloadEntry, WorkloadGroup};
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn entry(spec: &WorkloadEntry, path: &Path, report: &mut Report) {
    if spec.address.is_empty() {
        if spec.network.is_empty() {
            report.error(
                &path.key("address"),
                "the address is missing",
                "name an IP, a host, or the `network`",
            );
        }
    } else if let Some(socket) = spec.address.strip_prefix("unix://") {
        if !socket.starts_with('/') && !socket.starts_with('@') {
            report.error(&path.key("address"), "the path of a Unix socket is absolute", "write unix:///path");
        }
        if !spec.ports.is_empty() {
            report.error(&path.key("ports"), "a Unix socket has no ports", "remove them");
        }
    } else if spec.address.parse::<IpAddr>().is_err() {
        report.name(&path.key("address"), names::fqdn(&spec.address));
    }
    common(spec, path, report);
}

fn common(spec: &WorkloadEntry, path: &Path, report: &mut Report) {
    for (name, number) in &spec.ports {
        report.name(&path.key("ports").key(name), names::dns_label(name));
        report.port(&path.key("ports").key(name), *number);
    }
    names::labels(&spec.labels, &path.key("labels"), report);
    if spec.locality.split('/').count() > 3 {
        report.error(
            &path.key("locality"),
            format!("{:?} is no locality", spec.locality),
            "write region/zone/subzone",
        );
    }
}

pub(super) fn group(spec: &WorkloadGroup, path: &Path, report: &mut Report) {
    if spec.template == WorkloadEntry::default() {
        report.error(&path.key("template"), "the template is missing", "write what its entries share");
    }
    common(&spec.template, &path.key("template"), report);
    if let Some(meta) = &spec.metadata {
        names::labels(&meta.labels, &path.key("metadata").key("labels"), report);
    }
    let Some(probe) = &spec.probe else { return };
    let path = path.key("probe");
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        report.not_negative(&path.key(name), value);
    }
    if let Some(http) = &probe.http_get {
        report.port(&path.key("httpGet").key("port"), http.port);
    } else if let Some(tcp) = &probe.tcp_socket {
        report.port(&path.key("tcpSocket").key("port"), tcp.port);
    } else if let Some(grpc) = &probe.grpc {
        report.port(&path.key("grpc").key("port"), grpc.port);
    } else if probe.exec.as_ref().is_none_or(|exec| exec.command.is_empty()) {
        report.error(&path, "nothing is probed", "add `httpGet`, `tcpSocket`, `exec` or `grpc`");
    }
}
