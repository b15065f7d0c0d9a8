//! Columns of role bindings and `networking.k8s.io`.

use super::Printer;
use super::core::more;
use super::format::{age, or_none, selector};
use crate::object::{list, text};
use serde_json::{Value, json};

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
