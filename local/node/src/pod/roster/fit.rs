//! Whether the one node takes a pod: labels, taints, and whether it is cordoned.

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use super::Labels;

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The node's taints that keep pods away; a cordoned node has one more.
pub fn taints(node: &Node) -> Vec<Taint> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let mut taints: Vec<Taint> = spec.taints.iter().flatten().filter(keeps_away).cloned().collect();
    if spec.unschedulable == Some(true) && taints.iter().all(|taint| taint.key != UNSCHEDULABLE) {
        let effect = "NoSchedule".to_owned();
        taints.push(Taint { key: UNSCHEDULABLE.into(), effect, ..Taint::default() });
    }
    taints
}

/// Why a pod does not fit, in the words of an event.
pub fn misfit(pod: &Pod, labels: &Labels, taints: &[Taint]) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let selector = spec.node_selector.iter().flatten();
    if let Some((key, value)) = selector.into_iter().find(|(key, value)| labels.get(*key) != Some(value)) {
        return Some(format!("the only node has no label {key}={value}"));
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let taint = taints.iter().find(|taint| !tolerations.iter().any(|one| tolerates(one, taint)))?;
    if taint.key == UNSCHEDULABLE {
        return Some("1 node(s) were unschedulable".into());
    }
    let value = taint.value.as_deref().unwrap_or_default();
    Some(format!("1 node(s) had untolerated taint {{{}: {value}}}", taint.key))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || key.is_empty() && exists)
        && (exists || value(&toleration.value) == value(&taint.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn of(spec: serde_json::Value) -> Vec<Taint> {
        taints(&serde_json::from_value(json!({ "spec": spec })).unwrap())
    }

    #[test]
    fn node_selectors_must_fit() {
        let labels = Labels::from([("kubernetes.io/os".into(), "linux".into())]);
        assert_eq!(misfit(&pod(json!({"nodeSelector": {"kubernetes.io/os": "linux"}})), &labels, &[]), None);
        assert!(misfit(&pod(json!({"nodeSelector": {"disk": "ssd"}})), &labels, &[]).is_some());
    }

    #[test]
    fn taints_keep_pods_away_unless_tolerated() {
        let labels = Labels::new();
        let cordoned = of(json!({"unschedulable": true}));
        let tainted = of(json!({"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"},
            {"key": "c", "effect": "PreferNoSchedule"}]}));
        let plain = pod(json!({}));
        assert_eq!(misfit(&plain, &labels, &cordoned).unwrap(), "1 node(s) were unschedulable");
        assert_eq!(misfit(&plain, &labels, &tainted).unwrap(), "1 node(s) had untolerated taint {a: b}");
        for (toleration, fits) in [
            (json!({"key": "a", "operator": "Equal", "value": "b"}), true),
            (json!({"key": "a", "value": "x"}), false),
            (json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"operator": "Exists"}), true),
        ] {
            let pod = pod(json!({"tolerations": [toleration]}));
            assert_eq!(misfit(&pod, &labels, &tainted).is_none(), fits, "{toleration}");
        }
    }
}
