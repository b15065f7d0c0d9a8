//! Services and endpoint slices.

use super::names::{LABEL, is_label};
use crate::error::FieldError;
use crate::object::{int, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// A service.
pub fn service(service: &Value, old: Option<&Value>, out: &mut Vec<FieldError>) {
    let kind = text(service, "/spec/type");
    if !matches!(kind, "ClusterIP" | "ExternalName" | "LoadBalancer" | "NodePort") {
        let all = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        out.push(FieldError::not_supported("spec.type", &json!(kind), &all));
    }
    let headless = text(service, "/spec/clusterIP") == "None";
    let ports = list(service, "/spec/ports");
    if ports.is_empty() && kind != "ExternalName" && !headless {
        out.push(FieldError::required("spec.ports", ""));
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        out.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), detail));
    }
    if kind == "ExternalName" && text(service, "/spec/externalName").is_empty() {
        out.push(FieldError::required("spec.externalName", ""));
    }
    self::ports(ports, out);
    let affinity = text(service, "/spec/sessionAffinity");
    if !matches!(affinity, "ClientIP" | "None") {
        out.push(FieldError::not_supported("spec.sessionAffinity", &json!(affinity), &["ClientIP", "None"]));
    }
    super::names::labels("spec.selector", crate::object::map(service, "/spec/selector"), out);
    if let Some(old) = old {
        same_address(service, old, out);
    }
}

fn same_address(new: &Value, old: &Value, out: &mut Vec<FieldError>) {
    let (now, before) = (text(new, "/spec/clusterIP"), text(old, "/spec/clusterIP"));
    let either_external = [new, old].iter().any(|s| text(s, "/spec/type") == "ExternalName");
    if !now.is_empty() && !before.is_empty() && now != before && !either_external {
        out.push(FieldError::invalid("spec.clusterIPs[0]", &json!([now]), "may not change once set"));
    }
}

fn ports(ports: &[Value], out: &mut Vec<FieldError>) {
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for (i, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{i}].{field}");
        let name = text(port, "/name");
        match name {
            "" if ports.len() > 1 => out.push(FieldError::required(at("name"), "")),
            "" => {}
            name if !is_label(name) => out.push(FieldError::invalid(at("name"), &json!(name), LABEL)),
            name if !names.insert(name) => out.push(FieldError::duplicate(at("name"), &json!(name))),
            _ => {}
        }
        let number = int(port, "/port").unwrap_or(0);
        let range = "must be between 1 and 65535, inclusive";
        if !(1..=65535).contains(&number) {
            out.push(FieldError::invalid(at("port"), &json!(number), range));
        }
        let protocol = text(port, "/protocol");
        if !matches!(protocol, "SCTP" | "TCP" | "UDP") {
            out.push(FieldError::not_supported(at("protocol"), &json!(protocol), &["SCTP", "TCP", "UDP"]));
        }
        if !numbers.insert((number, protocol)) {
            out.push(FieldError::duplicate(
                format!("spec.ports[{i}]"),
                &json!({"port": number, "protocol": protocol}),
            ));
        }
        if port.get("targetPort").and_then(Value::as_i64).is_some_and(|n| !(1..=65535).contains(&n)) {
            out.push(FieldError::invalid(at("targetPort"), &port["targetPort"], range));
        }
    }
}

/// An endpoint slice.
pub fn slice(slice: &Value, out: &mut Vec<FieldError>) {
    let kind = text(slice, "/addressType");
    if !matches!(kind, "FQDN" | "IPv4" | "IPv6") {
        out.push(FieldError::not_supported("addressType", &json!(kind), &["FQDN", "IPv4", "IPv6"]));
    }
    for (i, endpoint) in list(slice, "/endpoints").iter().enumerate() {
        let addresses = list(endpoint, "/addresses");
        if addresses.is_empty() {
            out.push(FieldError::required(
                format!("endpoints[{i}].addresses"),
                "must contain at least 1 address",
            ));
        }
        for (j, address) in addresses.iter().enumerate() {
            let good =
                address.as_str().is_some_and(|a| kind != "IPv4" || a.parse::<std::net::Ipv4Addr>().is_ok());
            if !good {
                let detail = "must be a valid IPv4 address";
                out.push(FieldError::invalid(format!("endpoints[{i}].addresses[{j}]"), address, detail));
            }
        }
    }
}
