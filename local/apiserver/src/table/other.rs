//! Columns of volume claims, role bindings and `networking.k8s.io`.

use super::Printer;
use super::core::more;
use super::format::{age, or_none, selector};
use crate::object::{list, text};
use serde_json::{Value, json};

/// A claim's cells.
pub fn claim(claim: &Value) -> Vec<Value> {
    let modes: Vec<&str> =
        list(claim, "/status/accessModes").iter().filter_map(Value::as_str).map(short_mode).collect();
    let status =
        if crate::object::is_terminating(claim) { "Terminating" } else { text(claim, "/status/phase") };
    let unset = |p: &str| match text(claim, p) {
        "" => json!("<unset>"),
        s => json!(s),
    };
    vec![
        json!(status),
        json!(text(claim, "/spec/volumeName")),
        json!(text(claim, "/status/capacity/storage")),
        json!(modes.join(",")),
        json!(text(claim, "/spec/storageClassName")),
        unset("/spec/volumeAttributesClassName"),
        age(claim),
        unset("/spec/volumeMode"),
    ]
}

fn short_mode(mode: &str) -> &str {
    match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    }
}

/// A role binding's cells.
pub fn binding(binding: &Value) -> Vec<Value> {
    let of_kind = |kind: &str| {
        let all = list(binding, "/subjects").iter().filter(|s| text(s, "/kind") == kind);
        let names = all.map(|s| match text(s, "/namespace") {
            "" => text(s, "/name").to_owned(),
            ns => format!("{ns}/{}", text(s, "/name")),
        });
        json!(names.collect::<Vec<_>>().join(", "))
    };
    let role = format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
    vec![json!(role), age(binding), of_kind("User"), of_kind("Group"), of_kind("ServiceAccount")]
}

fn ingress(ingress: &Value) -> Vec<Value> {
    let hosts: Vec<String> = list(ingress, "/spec/rules")
        .iter()
        .map(|r| text(r, "/host"))
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
        .collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { more(hosts, 3) };
    let address = |i| match text(i, "/ip") {
        "" => text(i, "/hostname"),
        ip => ip,
    };
    let addresses: Vec<&str> = list(ingress, "/status/loadBalancer/ingress").iter().map(address).collect();
    let ports = if list(ingress, "/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        or_none(ingress, "/spec/ingressClassName"),
        json!(hosts),
        json!(addresses.join(",")),
        json!(ports),
        age(ingress),
    ]
}

/// The printer of a `networking.k8s.io` resource.
pub fn network(plural: &str) -> Option<Printer> {
    Some(match plural {
        "ingresses" => {
            Printer { columns: &["Name", "Class", "Hosts", "Address", "Ports", "Age"], cells: ingress }
        }
        "ingressclasses" => Printer {
            columns: &["Name", "Controller", "Parameters", "Age"],
            cells: |o| vec![json!(text(o, "/spec/controller")), or_none(o, "/spec/parameters/name"), age(o)],
        },
        _ => Printer {
            columns: &["Name", "Pod-Selector", "Age"],
            cells: |o| vec![selector(o, "/spec/podSelector"), age(o)],
        },
    })
}
