//! `components.*.k8s` of an IstioOperator: settings laid over what a component's chart rendered.

use serde_json::{Value, json};

use super::super::values;

mod overlay;

/// Every field, as in Istio's KubernetesResourcesSpec.
pub const FIELDS: &[&str] = &[
    "affinity",
    "env",
    "hpaSpec",
    "imagePullPolicy",
    "nodeSelector",
    "overlays",
    "podAnnotations",
    "podDisruptionBudget",
    "priorityClassName",
    "readinessProbe",
    "replicaCount",
    "resources",
    "securityContext",
    "service",
    "serviceAnnotations",
    "strategy",
    "tolerations",
    "volumeMounts",
    "volumes",
];

/// Where a field goes: the kinds of object, and the place in each.
const PLACES: &[(&str, &str, &str)] = &[
    ("replicaCount", "Deployment", "/spec/replicas"),
    ("strategy", "Deployment", "/spec/strategy"),
    ("podAnnotations", "Deployment", "/spec/template/metadata/annotations"),
    ("affinity", "Deployment", "/spec/template/spec/affinity"),
    ("nodeSelector", "Deployment", "/spec/template/spec/nodeSelector"),
    ("priorityClassName", "Deployment", "/spec/template/spec/priorityClassName"),
    ("securityContext", "Deployment", "/spec/template/spec/securityContext"),
    ("tolerations", "Deployment", "/spec/template/spec/tolerations"),
    ("volumes", "Deployment", "/spec/template/spec/volumes"),
    ("env", "Deployment", "/spec/template/spec/containers/0/env"),
    ("imagePullPolicy", "Deployment", "/spec/template/spec/containers/0/imagePullPolicy"),
    ("readinessProbe", "Deployment", "/spec/template/spec/containers/0/readinessProbe"),
    ("resources", "Deployment", "/spec/template/spec/containers/0/resources"),
    ("volumeMounts", "Deployment", "/spec/template/spec/containers/0/volumeMounts"),
    ("serviceAnnotations", "Service", "/metadata/annotations"),
    ("service", "Service", "/spec"),
    ("hpaSpec", "HorizontalPodAutoscaler", "/spec"),
    ("podDisruptionBudget", "PodDisruptionBudget", "/spec"),
];

/// Settings that decide what a chart renders, and not only what stands in it.
pub fn chart_values(k8s: Option<&Value>) -> Value {
    let mut values = json!({});
    for (from, to) in [
        ("/replicaCount", "replicaCount"),
        ("/hpaSpec/minReplicas", "autoscaleMin"),
        ("/hpaSpec/maxReplicas", "autoscaleMax"),
    ] {
        if let Some(value) = k8s.and_then(|k8s| k8s.pointer(from)) {
            values[to] = value.clone();
        }
    }
    values
}

/// Lays the settings over a component's objects; `path` is where they stand in the operator, for errors.
///
/// # Errors
/// When an overlay names an object or a place that is not there.
pub fn apply(k8s: Option<&Value>, path: &str, objects: &mut [Value]) -> anyhow::Result<()> {
    let Some(k8s) = k8s else { return Ok(()) };
    for (field, kind, place) in PLACES {
        let Some(value) = k8s.get(field).filter(|value| !value.is_null()) else { continue };
        // An autoscaler owns the number of replicas.
        if *field == "replicaCount" && objects.iter().any(|one| one["kind"] == "HorizontalPodAutoscaler") {
            continue;
        }
        for object in objects.iter_mut().filter(|object| object["kind"] == *kind) {
            lay(object, place, value.clone());
        }
    }
    overlay::apply(k8s.get("overlays"), &format!("{path}.overlays"), objects)
}

/// Lays a value over what is at a place; missing maps on the way there are made.
fn lay(object: &mut Value, place: &str, value: Value) {
    let mut at = object;
    for step in place.split('/').skip(1) {
        at = match at {
            Value::Array(items) => match step.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                Some(item) => item,
                None => return,
            },
            other => &mut other[step],
        };
    }
    combine(at, value);
}

/// Merges as Kubernetes' strategic merge does for these fields: maps by key, lists of named things by name; other lists are
/// replaced.
fn combine(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Array(base), Value::Array(over)) if named(&over) && named(base) => {
            for item in over {
                match base.iter_mut().find(|known| known["name"] == item["name"]) {
                    // Of `value` and `valueFrom` only one may stand.
                    Some(known) if item.get("value").or(item.get("valueFrom")).is_some() => *known = item,
                    Some(known) => values::merge(known, item),
                    None => base.push(item),
                }
            }
        }
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                // Ports of a service are the whole list, as users of Istio know it.
                if key == "ports" {
                    base.insert(key, value);
                } else {
                    combine(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn named(list: &[Value]) -> bool {
    list.iter().all(|item| item.get("name").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests;
