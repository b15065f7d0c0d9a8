//! Columns of `apps`, `autoscaling`, `policy` and replication controllers.

use super::Printer;
use super::format::{NONE, age, containers, number, pairs, selector};
use crate::object::{int, list, text};
use serde_json::{Value, json};

/// The printer of a resource, if it is here.
pub fn printer(group: &str, plural: &str) -> Option<Printer> {
    Some(match (group, plural) {
        ("apps", "deployments") => Printer {
            columns: &[
                "Name",
                "Ready",
                "Up-to-date",
                "Available",
                "Age",
                "+Containers",
                "+Images",
                "+Selector",
            ],
            cells: deployment,
        },
        ("apps", "replicasets") => {
            Printer { columns: REPLICAS, cells: |o| replicas(o, selector(o, "/spec/selector")) }
        }
        ("", "replicationcontrollers") => {
            Printer { columns: REPLICAS, cells: |o| replicas(o, pairs(o, "/spec/selector")) }
        }
        ("apps", "statefulsets") => {
            Printer { columns: &["Name", "Ready", "Age", "+Containers", "+Images"], cells: stateful_set }
        }
        ("apps", "daemonsets") => Printer { columns: DAEMONS, cells: daemon_set },
        ("apps", "controllerrevisions") => Printer {
            columns: &["Name", "Controller", "Revision", "Age"],
            cells: |o| vec![json!(controller(o)), json!(number(o, "/revision")), age(o)],
        },
        ("autoscaling", _) => Printer {
            columns: &["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"],
            cells: autoscaler,
        },
        ("policy", _) => Printer {
            columns: &["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"],
            cells: budget,
        },
        _ => return None,
    })
}

const TEMPLATE: &str = "/spec/template/spec/containers";
const REPLICAS: &[&str] =
    &["Name", "Desired", "Current", "Ready", "Age", "+Containers", "+Images", "+Selector"];
const DAEMONS: &[&str] = &[
    "Name",
    "Desired",
    "Current",
    "Ready",
    "Up-to-date",
    "Available",
    "Node Selector",
    "Age",
    "+Containers",
    "+Images",
    "+Selector",
];

fn deployment(o: &Value) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    vec![
        json!(format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas"))),
        json!(number(o, "/status/updatedReplicas")),
        json!(number(o, "/status/availableReplicas")),
        age(o),
        names,
        images,
        selector(o, "/spec/selector"),
    ]
}

fn replicas(o: &Value, selector: Value) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    let n = |p: &str| json!(number(o, p));
    vec![
        n("/spec/replicas"),
        n("/status/replicas"),
        n("/status/readyReplicas"),
        age(o),
        names,
        images,
        selector,
    ]
}

fn stateful_set(o: &Value) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    let ready = format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas"));
    vec![json!(ready), age(o), names, images]
}

fn daemon_set(o: &Value) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    let n = |field: &str| json!(number(o, &format!("/status/{field}")));
    vec![
        n("desiredNumberScheduled"),
        n("currentNumberScheduled"),
        n("numberReady"),
        n("updatedNumberScheduled"),
        n("numberAvailable"),
        pairs(o, "/spec/template/spec/nodeSelector"),
        age(o),
        names,
        images,
        selector(o, "/spec/selector"),
    ]
}

fn controller(o: &Value) -> String {
    let owner = list(o, "/metadata/ownerReferences").iter().find(|r| r["controller"] == json!(true));
    owner.map_or_else(
        || NONE.to_owned(),
        |r| format!("{}/{}", text(r, "/kind").to_lowercase(), text(r, "/name")),
    )
}

fn autoscaler(o: &Value) -> Vec<Value> {
    let target = format!("{}/{}", text(o, "/spec/scaleTargetRef/kind"), text(o, "/spec/scaleTargetRef/name"));
    let targets: Vec<String> = list(o, "/spec/metrics")
        .iter()
        .map(|m| match int(m, "/resource/target/averageUtilization") {
            Some(percent) => format!("{}: <unknown>/{percent}%", text(m, "/resource/name")),
            None => "<unknown>".to_owned(),
        })
        .collect();
    let targets = if targets.is_empty() { "<unknown>".to_owned() } else { targets.join(", ") };
    let min = int(o, "/spec/minReplicas").map_or_else(|| json!("<unset>"), |n| json!(n.to_string()));
    vec![
        json!(target),
        json!(targets),
        min,
        json!(number(o, "/spec/maxReplicas")),
        json!(number(o, "/status/currentReplicas")),
        age(o),
    ]
}

fn budget(o: &Value) -> Vec<Value> {
    let either = |p: &str| match o.pointer(p) {
        Some(Value::String(s)) => json!(s),
        Some(Value::Number(n)) => json!(n.to_string()),
        _ => json!("N/A"),
    };
    vec![
        either("/spec/minAvailable"),
        either("/spec/maxUnavailable"),
        json!(number(o, "/status/disruptionsAllowed")),
        age(o),
    ]
}
