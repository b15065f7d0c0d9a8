//! `?resource=` and `?mask=`.

use serde_json::{Map, Value};

/// The repeated fields that can be asked for, with the type of their items.
const RESOURCES: [(&str, &str); 14] = [
    ("static_clusters", "ClustersConfigDump.StaticCluster"),
    ("dynamic_active_clusters", "ClustersConfigDump.DynamicCluster"),
    ("dynamic_warming_clusters", "ClustersConfigDump.DynamicCluster"),
    ("static_endpoint_configs", "EndpointsConfigDump.StaticEndpointConfig"),
    ("dynamic_endpoint_configs", "EndpointsConfigDump.DynamicEndpointConfig"),
    ("static_listeners", "ListenersConfigDump.StaticListener"),
    ("dynamic_listeners", "ListenersConfigDump.DynamicListener"),
    ("static_route_configs", "RoutesConfigDump.StaticRouteConfig"),
    ("dynamic_route_configs", "RoutesConfigDump.DynamicRouteConfig"),
    ("static_secrets", "SecretsConfigDump.StaticSecret"),
    ("dynamic_active_secrets", "SecretsConfigDump.DynamicSecret"),
    ("dynamic_warming_secrets", "SecretsConfigDump.DynamicSecret"),
    ("ecds_filters", "EcdsConfigDump.EcdsFilterConfig"),
    ("bootstrap", "BootstrapConfigDump"),
];

/// The items of one repeated field, each with its type; `None` when no section has such a field.
pub(super) fn items(sections: &[Value], resource: &str) -> Option<Vec<Value>> {
    let (_, kind) = RESOURCES.iter().find(|(name, _)| *name == resource)?;
    let found = sections.iter().find_map(|section| section.get(resource));
    if resource == "bootstrap" {
        return Some(sections.iter().filter(|section| section.get(resource).is_some()).cloned().collect());
    }
    let typed = |item: &Value| {
        let mut object = Map::new();
        object.insert("@type".to_owned(), format!("type.googleapis.com/envoy.admin.v3.{kind}").into());
        object.extend(item.as_object().cloned().unwrap_or_default());
        Value::Object(object)
    };
    Some(found.and_then(Value::as_array).into_iter().flatten().map(typed).collect())
}

/// The error for a resource that does not exist.
pub(super) fn unknown(resource: &str) -> String {
    let known: Vec<_> = RESOURCES.iter().map(|(name, _)| *name).collect();
    format!("resource {resource:?} not found in config dump; there are: {}", known.join(", "))
}

/// Keeps only the fields on the paths of a comma-separated field mask.
pub(super) fn mask(value: &mut Value, mask: &str) {
    let paths: Vec<Vec<&str>> = mask.split(',').map(|path| path.trim().split('.').collect()).collect();
    let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    keep(value, &paths);
}

fn keep(value: &mut Value, paths: &[&[&str]]) {
    match value {
        // A mask goes through the items of a list.
        Value::Array(items) => items.iter_mut().for_each(|item| keep(item, paths)),
        Value::Object(fields) => fields.retain(|name, inner| {
            if name == "@type" {
                return true;
            }
            let below: Vec<&[&str]> = paths
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(head, _)| **head == name)
                .map(|(_, rest)| rest)
                .collect();
            // An empty rest means the whole field.
            if !below.is_empty() && below.iter().all(|rest| !rest.is_empty()) {
                keep(inner, &below);
            }
            !below.is_empty()
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mask_keeps_paths_and_types() {
        let mut value =
            json!({"@type": "t", "cluster": {"@type": "c", "name": "a", "type": "EDS"}, "version_info": "1"});
        mask(&mut value, "cluster.name");
        assert_eq!(value, json!({"@type": "t", "cluster": {"@type": "c", "name": "a"}}));
    }

    #[test]
    fn a_resource_is_a_list_of_typed_items() {
        let sections = [json!({"dynamic_listeners": [{"name": "a"}]})];
        let found = items(&sections, "dynamic_listeners").unwrap();
        let kind = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener";
        assert_eq!(found, [json!({"@type": kind, "name": "a"})]);
        assert!(items(&sections, "nonsense").is_none());
        assert_eq!(items(&sections, "static_clusters").unwrap(), Vec::<Value>::new());
    }
}
