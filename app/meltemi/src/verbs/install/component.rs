//! The components of an installation: what each consists of, and the order between them.

use serde_json::{Value, json};

use super::charts::{BASE, GATEWAY, ISTIOD};
use super::operator::Operator;
use super::template::{Chart, Release};
use super::values;

pub mod kubernetes;

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
        let mut objects = chart(&BASE, "istio-base", operator.namespace(), &user)?;
        let k8s = operator.spec().pointer("/components/base/k8s");
        kubernetes::apply(k8s, "spec.components.base.k8s", &mut objects)?;
        // The namespace comes first; CRDs follow, so that everything else may be of their kinds.
        let mut crds = meltemi_config::crd::all();
        crds.append(&mut objects);
        rendered.push(finish(Component::Base, crds, operator));
    }
    if enabled("/components/pilot/enabled") {
        let settings = operator.spec().pointer("/components/pilot");
        let values = istiod_values(settings, &user);
        let mut objects = chart(&ISTIOD, "istio", operator.namespace(), &values)?;
        kubernetes::apply(
            settings.and_then(|set| set.get("k8s")),
            "spec.components.pilot.k8s",
            &mut objects,
        )?;
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

fn chart(chart: &Chart, release: &str, namespace: &str, user: &Value) -> anyhow::Result<Vec<Value>> {
    let mut values = super::operator::first(chart.values)?;
    values::merge(&mut values, user.clone());
    Ok(chart.render(&Release { name: release, namespace }, &values)?)
}

/// The istiod chart's values stand at its top; operators and old users write them below `pilot`.
fn istiod_values(settings: Option<&Value>, user: &Value) -> Value {
    let mut values = user.clone();
    if let Some(pilot) = user.get("pilot") {
        values::merge(&mut values, pilot.clone());
    }
    if let Some(settings) = settings {
        values::merge(&mut values, kubernetes::chart_values(settings.get("k8s")));
        images(settings, &mut values);
    }
    values
}

/// A component's own hub and tag go before those of the whole installation.
fn images(component: &Value, values: &mut Value) {
    for key in ["hub", "tag"] {
        match component.get(key) {
            Some(Value::String(text)) if !text.is_empty() => values["global"][key] = json!(text),
            Some(Value::Number(number)) => values["global"][key] = json!(number.to_string()),
            _ => {}
        }
    }
}

/// A gateway's proxy comes from the injector, which is told of another image by annotation.
fn proxy_image(gateway: &Value, values: &mut Value) {
    if ["hub", "tag"].iter().any(|key| gateway.get(key).is_some()) {
        images(gateway, values);
        let text = |key: &str| values["global"][key].as_str().unwrap_or_default().to_owned();
        let image = format!("{}/proxyv2:{}", text("hub"), text("tag"));
        values["podAnnotations"]["sidecar.istio.io/proxyImage"] = json!(image);
    }
}

fn gateways(operator: &Operator, user: &Value, list: &str) -> anyhow::Result<Vec<Value>> {
    let egress = list == "egressGateways";
    let kind = if egress { "istio-egressgateway" } else { "istio-ingressgateway" };
    let declared = operator.spec().pointer(&format!("/components/{list}")).and_then(Value::as_array);
    let mut objects = Vec::new();
    for (index, gateway) in declared.into_iter().flatten().enumerate() {
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
        let k8s = gateway.get("k8s");
        values::merge(&mut values, kubernetes::chart_values(k8s));
        proxy_image(gateway, &mut values);
        values["name"] = json!(name);
        let namespace = gateway.get("namespace").and_then(Value::as_str).unwrap_or(operator.namespace());
        let mut rendered = chart(&GATEWAY, name, namespace, &values)?;
        kubernetes::apply(k8s, &format!("spec.components.{list}[{index}].k8s"), &mut rendered)?;
        objects.append(&mut rendered);
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
