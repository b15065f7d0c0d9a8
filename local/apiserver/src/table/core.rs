//! Columns of the core group, of endpoint slices and of what configures the API itself.

use super::format::{NONE, UNKNOWN, age, number, or_none, pairs, since};
use super::{Printer, other, storage};
use crate::object::{list, map, text};
use serde_json::{Value, json};

/// The printer of a resource, if it is here.
pub fn printer(group: &str, plural: &str) -> Option<Printer> {
    let printer = |columns, cells| Some(Printer { columns, cells });
    match (group, plural) {
        ("", "pods") => printer(super::pod::COLUMNS, super::pod::cells),
        ("", "services") => {
            printer(&["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"], service)
        }
        ("", "namespaces") => printer(&["Name", "Status", "Age"], |o| vec![phase(o), age(o)]),
        ("", "nodes") => printer(NODE, node),
        ("", "endpoints") => printer(&["Name", "Endpoints", "Age"], |o| vec![endpoints(o), age(o)]),
        ("", "events") | ("events.k8s.io", "events") => printer(EVENT, event),
        ("", "configmaps") => printer(&["Name", "Data", "Age"], |o| {
            vec![json!(count(o, "/data") + count(o, "/binaryData")), age(o)]
        }),
        ("", "secrets") => printer(&["Name", "Type", "Data", "Age"], |o| {
            vec![json!(text(o, "/type")), json!(count(o, "/data")), age(o)]
        }),
        ("", "serviceaccounts") => {
            printer(&["Name", "Secrets", "Age"], |o| vec![json!(list(o, "/secrets").len()), age(o)])
        }
        ("discovery.k8s.io", "endpointslices") => {
            printer(&["Name", "AddressType", "Ports", "Endpoints", "Age"], slice)
        }
        ("coordination.k8s.io", "leases") => {
            printer(&["Name", "Holder", "Age"], |o| vec![json!(text(o, "/spec/holderIdentity")), age(o)])
        }
        ("admissionregistration.k8s.io", _) => {
            printer(&["Name", "Webhooks", "Age"], |o| vec![json!(list(o, "/webhooks").len()), age(o)])
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            printer(&["Name", "Role", "Age", "+Users", "+Groups", "+ServiceAccounts"], other::binding)
        }
        ("networking.k8s.io", _) => other::network(plural),
        ("scheduling.k8s.io", _) => {
            printer(&["Name", "Value", "Global-Default", "Age", "+PreemptionPolicy"], |o| {
                let default = o["globalDefault"] == json!(true);
                vec![json!(number(o, "/value")), json!(default), age(o), or_none(o, "/preemptionPolicy")]
            })
        }
        _ => storage::printer(group, plural),
    }
}

fn count(object: &Value, pointer: &str) -> usize {
    map(object, pointer).map_or(0, serde_json::Map::len)
}

fn phase(object: &Value) -> Value {
    json!(text(object, "/status/phase"))
}

fn service(service: &Value) -> Vec<Value> {
    let ports: Vec<String> = list(service, "/spec/ports").iter().map(port).collect();
    vec![
        json!(text(service, "/spec/type")),
        or_none(service, "/spec/clusterIP"),
        json!(external_ip(service)),
        json!(if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }),
        age(service),
        pairs(service, "/spec/selector"),
    ]
}

fn port(port: &Value) -> String {
    let protocol = text(port, "/protocol");
    match number(port, "/nodePort") {
        0 => format!("{}/{protocol}", number(port, "/port")),
        node => format!("{}:{node}/{protocol}", number(port, "/port")),
    }
}

fn external_ip(service: &Value) -> String {
    let external: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    let join = |all: Vec<&str>, none: &str| if all.is_empty() { none.to_owned() } else { all.join(",") };
    match text(service, "/spec/type") {
        "LoadBalancer" => {
            let address = |i| match text(i, "/ip") {
                "" => text(i, "/hostname"),
                ip => ip,
            };
            let mut all: Vec<&str> =
                list(service, "/status/loadBalancer/ingress").iter().map(address).collect();
            all.extend(external);
            join(all, "<pending>")
        }
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        _ => join(external, NONE),
    }
}

const NODE: &[&str] = &[
    "Name",
    "Status",
    "Roles",
    "Age",
    "Version",
    "+Internal-IP",
    "+External-IP",
    "+OS-Image",
    "+Kernel-Version",
    "+Container-Runtime",
];

fn node(node: &Value) -> Vec<Value> {
    let ready = list(node, "/status/conditions").iter().find(|c| text(c, "/type") == "Ready");
    let mut status = match ready.map(|c| text(c, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.pointer("/spec/unschedulable") == Some(&json!(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = map(node, "/metadata/labels");
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = |kind: &str| {
        let found = list(node, "/status/addresses").iter().find(|a| text(a, "/type") == kind);
        json!(found.map_or(NONE, |a| text(a, "/address")))
    };
    let info = |field: &str| match text(node, &format!("/status/nodeInfo/{field}")) {
        "" => json!(UNKNOWN),
        s => json!(s),
    };
    vec![
        json!(status),
        json!(if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }),
        age(node),
        json!(text(node, "/status/nodeInfo/kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

pub(super) fn more(mut all: Vec<String>, max: usize) -> String {
    let hidden = all.len().saturating_sub(max);
    all.truncate(max);
    match (all.is_empty(), hidden) {
        (true, _) => NONE.to_owned(),
        (_, 0) => all.join(","),
        (_, n) => format!("{} + {n} more...", all.join(",")),
    }
}

fn endpoints(endpoints: &Value) -> Value {
    let mut all = Vec::new();
    for subset in list(endpoints, "/subsets") {
        for address in list(subset, "/addresses") {
            let ports = list(subset, "/ports");
            if ports.is_empty() {
                all.push(text(address, "/ip").to_owned());
            }
            all.extend(ports.iter().map(|p| format!("{}:{}", text(address, "/ip"), number(p, "/port"))));
        }
    }
    json!(more(all, 3))
}

fn slice(slice: &Value) -> Vec<Value> {
    let ports = list(slice, "/ports");
    let ports = match slice.get("ports") {
        None | Some(Value::Null) => "<unset>".to_owned(),
        _ => more(ports.iter().map(|p| p.get("port").map_or("*".into(), Value::to_string)).collect(), 3),
    };
    let addresses = list(slice, "/endpoints").iter().flat_map(|e| list(e, "/addresses"));
    let addresses = addresses.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let endpoints = if addresses.is_empty() { "<unset>".to_owned() } else { more(addresses, 3) };
    vec![json!(text(slice, "/addressType")), json!(ports), json!(endpoints), age(slice)]
}

const EVENT: &[&str] = &[
    "Last Seen",
    "Type",
    "Reason",
    "Object",
    "+Subobject",
    "+Source",
    "Message",
    "+First Seen",
    "+Count",
    "+Name",
];

fn event(event: &Value) -> Vec<Value> {
    let either = |core: &str, new: &str| match text(event, core) {
        "" => text(event, new).to_owned(),
        s => s.to_owned(),
    };
    let first = match either("/firstTimestamp", "/deprecatedFirstTimestamp") {
        s if s.is_empty() => text(event, "/eventTime").to_owned(),
        s => s,
    };
    let last = either("/lastTimestamp", "/deprecatedLastTimestamp");
    let last = match text(event, "/series/lastObservedTime") {
        "" if last.is_empty() => first.clone(),
        "" => last,
        observed => observed.to_owned(),
    };
    let kind = either("/involvedObject/kind", "/regarding/kind").to_lowercase();
    let name = either("/involvedObject/name", "/regarding/name");
    let source = either("/source/component", "/deprecatedSource/component");
    let source =
        if source.is_empty() { either("/reportingComponent", "/reportingController") } else { source };
    let host = either("/source/host", "/deprecatedSource/host");
    let source = if host.is_empty() { source } else { format!("{source}, {host}") };
    let count = number(event, "/series/count").max(number(event, "/count")).max(1);
    let message = either("/message", "/note");
    vec![
        json!(since(&last)),
        json!(text(event, "/type")),
        json!(text(event, "/reason")),
        json!(format!("{kind}/{name}")),
        json!(either("/involvedObject/fieldPath", "/regarding/fieldPath")),
        json!(source),
        json!(message.trim()),
        json!(since(&first)),
        json!(count),
        json!(crate::object::name(event)),
    ]
}
