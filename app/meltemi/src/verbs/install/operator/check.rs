//! The shape of an IstioOperator: every field that we do not act on is named, with what to do.

use serde_json::Value;

/// Fields of the spec.
const SPEC: &[&str] = &[
    "profile",
    "hub",
    "tag",
    "revision",
    "namespace",
    "components",
    "meshConfig",
    "values",
    "unvalidatedValues",
];
/// Fields of Istio's spec that we cannot follow, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "installPackagePath",
        "the charts are built in; leave it out, and change what they render by `k8s.overlays`",
    ),
    ("compatibilityVersion", "older versions' behaviour is not built; leave it out"),
];
/// Components, and whether each is a list.
const COMPONENTS: &[(&str, bool)] = &[
    ("base", false),
    ("pilot", false),
    ("cni", false),
    ("ztunnel", false),
    ("istiodRemote", false),
    ("ingressGateways", true),
    ("egressGateways", true),
];
/// Components that may be named only to turn them off.
const NOT_BUILT: &[&str] = &["cni", "ztunnel", "istiodRemote"];
/// Fields of a component that is no gateway.
const COMPONENT: &[&str] = &["enabled", "hub", "tag", "k8s"];
/// Fields of a gateway.
const GATEWAY: &[&str] = &["enabled", "hub", "tag", "k8s", "name", "namespace", "label"];

/// All mistakes of a spec, each with its path and a cure.
pub fn check(spec: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if !map("spec", spec, &mut problems) {
        return problems;
    }
    let fields: Vec<&str> = SPEC.iter().copied().chain(REFUSED.iter().map(|(field, _)| *field)).collect();
    known("spec", spec, &fields, &mut problems);
    for (field, why) in REFUSED.iter().filter(|(field, _)| spec.get(field).is_some()) {
        problems.push(format!("spec.{field}: is not supported: {why}"));
    }
    let Some(components) = spec.get("components") else { return problems };
    if !map("spec.components", components, &mut problems) {
        return problems;
    }
    let names: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    known("spec.components", components, &names, &mut problems);
    for (name, list) in COMPONENTS {
        let path = format!("spec.components.{name}");
        match components.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(gateways)) if *list => {
                for (index, gateway) in gateways.iter().enumerate().filter(|(_, one)| !one.is_null()) {
                    component(&format!("{path}[{index}]"), gateway, GATEWAY, &mut problems);
                }
            }
            Some(_) if *list => problems.push(format!("{path}: must be a list of gateways")),
            Some(one) => {
                component(&path, one, COMPONENT, &mut problems);
                if NOT_BUILT.contains(name) && one.get("enabled") == Some(&Value::Bool(true)) {
                    problems.push(format!("{path}.enabled: this component is not built yet; leave it out"));
                }
            }
        }
    }
    problems
}

fn component(path: &str, component: &Value, fields: &[&str], problems: &mut Vec<String>) {
    if !map(path, component, problems) {
        return;
    }
    known(path, component, fields, problems);
    if component.get("enabled").is_some_and(|enabled| !enabled.is_boolean()) {
        problems.push(format!("{path}.enabled: must be true or false"));
    }
    if let Some(k8s) = component.get("k8s").filter(|k8s| !k8s.is_null()) {
        let path = format!("{path}.k8s");
        if map(&path, k8s, problems) {
            known(&path, k8s, super::super::component::kubernetes::FIELDS, problems);
        }
    }
}

fn map(path: &str, value: &Value, problems: &mut Vec<String>) -> bool {
    if !value.is_object() {
        problems.push(format!("{path}: must be a map"));
    }
    value.is_object()
}

fn known(path: &str, value: &Value, fields: &[&str], problems: &mut Vec<String>) {
    for field in value.as_object().into_iter().flat_map(|map| map.keys()) {
        if !fields.contains(&field.as_str()) {
            let hint = meltemi_config::suggest::nearest(field, fields).map_or_else(
                || format!("known are {}", fields.join(", ")),
                |near| format!("did you mean {near:?}?"),
            );
            problems.push(format!("{path}.{field}: unknown field; {hint}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_named_with_its_path() {
        let spec = json!({
            "porfile": "demo",
            "compatibilityVersion": "1.25",
            "components": {
                "pilot": {"enabled": "yes", "k8s": {"replicas": 2, "resources": {}}},
                "cni": {"enabled": true},
                "ingressGateways": [{"name": "a", "k8s": {"overlay": []}}, null, 7],
                "egressGateways": {},
                "citadel": {},
            },
        });
        assert_eq!(
            check(&spec),
            [
                "spec.porfile: unknown field; did you mean \"profile\"?",
                "spec.compatibilityVersion: is not supported: older versions' behaviour is not built; leave it out",
                "spec.components.citadel: unknown field; known are base, pilot, cni, ztunnel, istiodRemote, ingressGateways, egressGateways",
                "spec.components.pilot.enabled: must be true or false",
                "spec.components.pilot.k8s.replicas: unknown field; known are affinity, env, hpaSpec, imagePullPolicy, nodeSelector, overlays, podAnnotations, podDisruptionBudget, priorityClassName, readinessProbe, replicaCount, resources, securityContext, service, serviceAnnotations, strategy, tolerations, volumeMounts, volumes",
                "spec.components.cni.enabled: this component is not built yet; leave it out",
                "spec.components.ingressGateways[0].k8s.overlay: unknown field; did you mean \"overlays\"?",
                "spec.components.ingressGateways[2]: must be a map",
                "spec.components.egressGateways: must be a list of gateways",
            ]
        );
    }

    #[test]
    fn what_profiles_and_users_write_is_fine() {
        let spec = json!({
            "profile": "demo",
            "components": {
                "cni": {"enabled": false},
                "pilot": {"k8s": {"overlays": [], "hpaSpec": {}}},
                "ingressGateways": [{"name": "a", "namespace": "edge", "label": {"x": "y"}, "enabled": true}],
            },
        });
        assert!(check(&spec).is_empty());
    }
}
