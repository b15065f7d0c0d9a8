//! The components of an installation: what each consists of, and the order between them.

use serde_json::{Value, json};

use super::charts::{BASE, GATEWAY, ISTIOD};
use super::operator::Operator;
use super::template::{Chart, Release};
use super::values;

/// A part that is installed and reported as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// CRDs and what all revisions share.
    Base,
    /// The control plane.
    Pilot,
    /// Gateways out of the mesh.
    EgressGateways,
    /// Gateways into the mesh.
    IngressGateways,
}

impl Component {
    /// As in label `operator.istio.io/component`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Base => "Base",
            Self::Pilot => "Pilot",
            Self::EgressGateways => "EgressGateways",
            Self::IngressGateways => "IngressGateways",
        }
    }

    /// As in messages.
    pub fn title(self) -> &'static str {
        match self {
            Self::Base => "Istio core",
            Self::Pilot => "Istiod",
            Self::EgressGateways => "Egress gateways",
            Self::IngressGateways => "Ingress gateways",
        }
    }

    /// The mark behind the message that it is installed.
    pub fn icon(self) -> &'static str {
        match self {
            Self::Base => "⛵️",
            Self::Pilot => "🧠",
            Self::EgressGateways => "🛫",
            Self::IngressGateways => "🛬",
        }
    }
}

/// A component with its objects, ready to be applied.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Which one.
    pub component: Component,
    /// In the order of application.
    pub objects: Vec<Value>,
}

/// All components that the operator asks for, in the order of their dependencies.
///
/// # Errors
/// When a chart does not render with these values; the error names chart and template.
pub fn render(operator: &Operator) -> anyhow::Result<Vec<Rendered>> {
    let user = operator.values()?;
    let mut rendered = Vec::new();
    let enabled = |path: &str| operator.spec().pointer(path).and_then(Value::as_bool).unwrap_or(false);
    if enabled("/components/base/enabled") {
        let mut objects = chart(&BASE, "istio-base", operator, &user)?;
        // The namespace comes first; CRDs follow, so that everything else may be of their kinds.
        let mut crds = meltemi_config::crd::all();
        crds.append(&mut objects);
        rendered.push(finish(Component::Base, crds, operator));
    }
    if enabled("/components/pilot/enabled") {
        let values = istiod_values(operator, &user);
        let objects = chart(&ISTIOD, "istio", operator, &values)?;
        rendered.push(finish(Component::Pilot, objects, operator));
    }
    for (component, list) in
        [(Component::EgressGateways, "egressGateways"), (Component::IngressGateways, "ingressGateways")]
    {
        let objects = gateways(operator, &user, list)?;
        if !objects.is_empty() {
            rendered.push(finish(component, objects, operator));
        }
    }
    Ok(rendered)
}

fn chart(chart: &Chart, release: &str, operator: &Operator, user: &Value) -> anyhow::Result<Vec<Value>> {
    let mut values = super::operator::first(chart.values)?;
    values::merge(&mut values, user.clone());
    let namespace = operator.namespace();
    Ok(chart.render(&Release { name: release, namespace }, &values)?)
}

/// The istiod chart's values stand at its top; operators and old users write them below `pilot`.
fn istiod_values(operator: &Operator, user: &Value) -> Value {
    let mut values = user.clone();
    if let Some(pilot) = user.get("pilot") {
        values::merge(&mut values, pilot.clone());
    }
    let k8s = operator.spec().pointer("/components/pilot/k8s");
    values::merge(&mut values, kubernetes_settings(k8s));
    values
}

fn gateways(operator: &Operator, user: &Value, list: &str) -> anyhow::Result<Vec<Value>> {
    let egress = list == "egressGateways";
    let kind = if egress { "istio-egressgateway" } else { "istio-ingressgateway" };
    let declared = operator.spec().pointer(&format!("/components/{list}")).and_then(Value::as_array);
    let mut objects = Vec::new();
    for gateway in declared.into_iter().flatten() {
        if !gateway.get("enabled").and_then(Value::as_bool).unwrap_or(false) {
            continue;
        }
        let name = gateway.get("name").and_then(Value::as_str).unwrap_or(kind);
        let mut values = json!({"global": user.get("global"), "revision": operator.revision(), "name": name});
        values::merge(&mut values, gateway_defaults(kind, egress));
        if let Some(set) = user.pointer(&format!("/gateways/{kind}")) {
            values::merge(&mut values, set.clone());
        }
        if let Some(labels) = gateway.get("label").filter(|labels| labels.is_object()) {
            values::merge(&mut values, json!({"labels": labels}));
        }
        values::merge(&mut values, kubernetes_settings(gateway.get("k8s")));
        values["name"] = json!(name);
        objects.extend(chart(&GATEWAY, name, operator, &values)?);
    }
    Ok(objects)
}

fn gateway_defaults(kind: &str, egress: bool) -> Value {
    let mut values = json!({"labels": {"app": kind, "istio": kind.trim_start_matches("istio-")}});
    if egress {
        values["type"] = json!("ClusterIP");
        values["ports"] = json!([
            {"port": 80, "targetPort": 8080, "name": "http2", "protocol": "TCP"},
            {"port": 443, "targetPort": 8443, "name": "https", "protocol": "TCP"},
        ]);
    }
    values
}

/// `components.*.k8s` as chart values.
fn kubernetes_settings(k8s: Option<&Value>) -> Value {
    let mut values = json!({});
    let Some(k8s) = k8s else { return values };
    for key in [
        "resources",
        "replicaCount",
        "nodeSelector",
        "tolerations",
        "affinity",
        "podAnnotations",
        "serviceAnnotations",
    ] {
        if let Some(value) = k8s.get(key) {
            values[key] = value.clone();
        }
    }
    for (from, to) in [
        ("/service/type", "type"),
        ("/service/ports", "ports"),
        ("/hpaSpec/minReplicas", "autoscaleMin"),
        ("/hpaSpec/maxReplicas", "autoscaleMax"),
    ] {
        if let Some(value) = k8s.pointer(from) {
            values[to] = value.clone();
        }
    }
    for variable in k8s.get("env").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable.get("value")) {
            values["env"][name] = value.clone();
        }
    }
    values
}

/// Labels by which we find what we installed.
fn finish(component: Component, mut objects: Vec<Value>, operator: &Operator) -> Rendered {
    let revision = if operator.revision().is_empty() { "default" } else { operator.revision() };
    for object in &mut objects {
        // The namespace may hold what others put there; it is never ours to delete.
        if object["kind"] == "Namespace" {
            continue;
        }
        let labels = &mut object["metadata"]["labels"];
        for (label, value) in [
            ("install.operator.istio.io/owning-resource", "installed-state"),
            ("operator.istio.io/component", component.label()),
            ("operator.istio.io/managed", "Reconcile"),
            ("operator.istio.io/version", meltemi_proto::version::ISTIO_COMPAT),
        ] {
            labels[label] = json!(value);
        }
        if component != Component::Base {
            labels["istio.io/rev"] = json!(revision);
        }
    }
    Rendered { component, objects }
}

#[cfg(test)]
mod tests;
