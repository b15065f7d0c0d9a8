//! Metrics merging: Prometheus scrapes the agent, which adds the application's own metrics.

use serde_json::{Map, Value, json};

use crate::annotations::{flag, names};
use crate::pod::{PodRef, array, object};
use crate::proxy_config::MeshSettings;

/// Points the pod's scrape annotations to the agent, and tells the agent where they pointed before.
pub(crate) fn merge(pod: &mut Value, original: PodRef<'_>, mesh: &MeshSettings, status_port: u16) {
    let wanted =
        original.annotation(names::MERGE_METRICS).and_then(flag).unwrap_or(mesh.enable_prometheus_merge);
    let scraped =
        original.annotation(names::PROMETHEUS_SCRAPE).is_none_or(|value| flag(value) != Some(false));
    let target = status_port.to_string();
    if !wanted || !scraped || original.annotation(names::PROMETHEUS_PORT) == Some(&target) {
        return;
    }
    if let Some(application) = scrape_settings(original)
        && let Some(proxy) = super::inject::proxy_container(pod)
    {
        array(proxy, "env").push(json!({"name": "ISTIO_PROMETHEUS_ANNOTATIONS", "value": application}));
    }
    let annotations = object(&mut pod["metadata"], "annotations");
    annotations.insert(names::PROMETHEUS_PATH.to_owned(), json!("/stats/prometheus"));
    annotations.insert(names::PROMETHEUS_PORT.to_owned(), json!(target));
    annotations.insert(names::PROMETHEUS_SCRAPE.to_owned(), json!("true"));
}

fn scrape_settings(pod: PodRef<'_>) -> Option<String> {
    let fields = [
        ("scrape", names::PROMETHEUS_SCRAPE),
        ("path", names::PROMETHEUS_PATH),
        ("port", names::PROMETHEUS_PORT),
    ];
    let found: Map<String, Value> = fields
        .iter()
        .filter_map(|(field, annotation)| Some(((*field).to_owned(), json!(pod.annotation(annotation)?))))
        .collect();
    if found.is_empty() {
        return None;
    }
    let whole: Map<String, Value> = fields
        .iter()
        .map(|(field, _)| ((*field).to_owned(), found.get(*field).cloned().unwrap_or_else(|| json!(""))))
        .collect();
    Some(Value::Object(whole).to_string())
}
