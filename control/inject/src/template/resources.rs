//! Resources of the proxy container.

use serde_json::{Map, Value, json};

use super::Frame;
use crate::annotations::names;

/// The annotations' resources if there is any such annotation (they replace the defaults as a whole), else the values'.
pub(super) fn proxy(frame: &Frame<'_>) -> Value {
    let section = |cpu, memory| {
        let entries = [("cpu", cpu), ("memory", memory)];
        entries
            .into_iter()
            .filter_map(|(field, annotation)| {
                Some((field.to_owned(), json!(frame.pod.annotation(annotation)?)))
            })
            .collect::<Map<_, _>>()
    };
    let requests = section(names::PROXY_CPU, names::PROXY_MEMORY);
    let limits = section(names::PROXY_CPU_LIMIT, names::PROXY_MEMORY_LIMIT);
    if requests.is_empty() && limits.is_empty() {
        let own = &frame.injector.values.global.proxy.resources;
        return if own.is_object() { own.clone() } else { json!({}) };
    }
    let mut resources = Map::new();
    for (field, section) in [("requests", requests), ("limits", limits)] {
        if !section.is_empty() {
            resources.insert(field.to_owned(), Value::Object(section));
        }
    }
    Value::Object(resources)
}

/// Resources of the init container.
pub(super) fn init(frame: &Frame<'_>) -> Value {
    let own = &frame.injector.values.global.proxy_init.resources;
    if own.is_object() { own.clone() } else { proxy(frame) }
}
