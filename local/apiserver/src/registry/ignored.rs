//! Fields that are stored and have no effect here, for warnings to who creates the object. Those which many manifests set
//! out of habit (resources, affinity, seccomp profiles) are left to the documentation.

use super::Resource;
use crate::object::{list, text};
use serde_json::{Value, json};

/// Path in a pod's spec, the value that means nothing special, and what holds instead.
const POD: &[(&str, Ordinary, &str)] = &[
    ("activeDeadlineSeconds", Ordinary::Absent, "pods are not ended by it; Jobs are"),
    ("hostIPC", Ordinary::False, OWN),
    ("hostNetwork", Ordinary::False, OWN),
    ("hostPID", Ordinary::False, OWN),
    ("readinessGates", Ordinary::Absent, "only the containers make a pod ready"),
    ("runtimeClassName", Ordinary::Absent, "containers are processes of this machine"),
    ("schedulerName", Ordinary::Text("default-scheduler"), "there is one scheduler"),
    ("schedulingGates", Ordinary::Absent, "pods are bound at once"),
    ("shareProcessNamespace", Ordinary::False, "a container sees its own processes only"),
];

const SERVICE: &[(&str, Ordinary, &str)] = &[
    ("externalIPs", Ordinary::Absent, "only this machine reaches the service, on 127.0.0.1"),
    ("loadBalancerClass", Ordinary::Absent, "there is one load balancer"),
    ("loadBalancerSourceRanges", Ordinary::Absent, "only this machine reaches the service, on 127.0.0.1"),
];

const OWN: &str = "every pod has namespaces of its own";

/// The value of a field that asks for nothing.
#[derive(Debug, Clone, Copy)]
enum Ordinary {
    Absent,
    False,
    Text(&'static str),
}

impl Ordinary {
    fn is(self, value: Option<&Value>) -> bool {
        match (self, value) {
            (_, None | Some(Value::Null)) => true,
            (Ordinary::Absent, Some(value)) => *value == json!("") || *value == json!([]),
            (Ordinary::False, Some(value)) => *value == json!(false),
            (Ordinary::Text(text), Some(value)) => *value == json!("") || value == text,
        }
    }
}

/// A warning for each field of an object that has no effect here.
pub fn ignored(resource: &Resource, object: &Value) -> Vec<String> {
    let pod = |at: &str| {
        let spec = object.pointer(&format!("/{}", at.replace('.', "/"))).unwrap_or(&Value::Null);
        fields(at, spec, POD).chain(ports(at, spec)).collect()
    };
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod("spec"),
        ("apps", "controllerrevisions") => Vec::new(),
        ("apps", _) | ("batch", "jobs") => pod("spec.template.spec"),
        ("batch", _) => pod("spec.jobTemplate.spec.template.spec"),
        ("", "services") => fields("spec", &object["spec"], SERVICE).collect(),
        _ => Vec::new(),
    }
}

fn warning(field: &str, instead: &str) -> String {
    format!("{field}: has no effect in the local cluster: {instead}")
}

fn fields<'a>(
    at: &'a str,
    spec: &'a Value,
    table: &'static [(&'static str, Ordinary, &'static str)],
) -> impl Iterator<Item = String> + 'a {
    let set = table.iter().filter(|(field, ordinary, _)| !ordinary.is(spec.get(field)));
    set.map(move |(field, _, instead)| warning(&format!("{at}.{field}"), instead))
}

fn ports<'a>(at: &'a str, spec: &'a Value) -> impl Iterator<Item = String> + 'a {
    // With the host's network they are what that would come to, which has its own warning.
    let own_network = Ordinary::False.is(spec.get("hostNetwork"));
    let containers = list(spec, "/containers").iter().filter(move |_| own_network);
    containers
        .filter(|container| list(container, "/ports").iter().any(|port| port.get("hostPort").is_some()))
        .map(move |container| {
            let field = format!("{at}.containers[{}].ports[].hostPort", text(container, "/name"));
            warning(&field, "use a Service of type NodePort or LoadBalancer")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn of(group: &str, plural: &str, object: Value) -> Vec<String> {
        let registry = Registry::builtin();
        ignored(registry.find_any_version(group, plural).unwrap(), &object)
    }

    #[test]
    fn only_what_asks_for_something_is_warned_of() {
        let spec = json!({"hostNetwork": true, "hostPID": false, "schedulerName": "default-scheduler",
            "readinessGates": [], "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
        let own = "every pod has namespaces of its own";
        assert_eq!(
            of("", "pods", json!({ "spec": spec })),
            [format!("spec.hostNetwork: has no effect in the local cluster: {own}")]
        );
        let mut without = spec;
        without["hostNetwork"] = json!(false);
        let template = json!({"spec": {"template": {"spec": without}}});
        let ports = "spec.template.spec.containers[c].ports[].hostPort: has no effect in the local cluster: use a Service of type NodePort or LoadBalancer";
        assert_eq!(of("apps", "deployments", template), [ports]);
        let service = json!({"spec": {"externalIPs": ["192.0.2.1"], "type": "ClusterIP"}});
        assert_eq!(of("", "services", service).len(), 1);
        assert!(of("", "configmaps", json!({"spec": {"hostNetwork": true}})).is_empty());
    }
}
