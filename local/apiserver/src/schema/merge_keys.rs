//! How the lists and maps of built-in kinds merge: the keys of strategic merge patches and of server-side apply.
//!
//! The two differ in places (a Service's ports merge by `port` in patches, by `port` and `protocol` in apply), so the
//! table gives both.

use super::Definitions;
use serde_json::{Value, json};

/// One list field: type, field, patch merge key ("" none; "=" a set of scalars), further patch strategy, apply's keys.
struct ListRow(&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const MERGE: &str = "merge";
const RETAIN: &str = "merge,retainKeys";

const LISTS: &[ListRow] = &[
    ListRow("Container", "env", "name", MERGE, &["name"]),
    ListRow("Container", "ports", "containerPort", MERGE, &["containerPort", "protocol"]),
    ListRow("Container", "volumeDevices", "devicePath", MERGE, &["devicePath"]),
    ListRow("Container", "volumeMounts", "mountPath", MERGE, &["mountPath"]),
    ListRow("EphemeralContainer", "env", "name", MERGE, &["name"]),
    ListRow("EphemeralContainer", "ports", "containerPort", MERGE, &["containerPort", "protocol"]),
    ListRow("EphemeralContainer", "volumeDevices", "devicePath", MERGE, &["devicePath"]),
    ListRow("EphemeralContainer", "volumeMounts", "mountPath", MERGE, &["mountPath"]),
    ListRow("ContainerStatus", "volumeMounts", "mountPath", MERGE, &["mountPath"]),
    ListRow("ContainerStatus", "allocatedResourcesStatus", "name", MERGE, &["name"]),
    ListRow("PodSpec", "containers", "name", MERGE, &["name"]),
    ListRow("PodSpec", "ephemeralContainers", "name", MERGE, &["name"]),
    ListRow("PodSpec", "initContainers", "name", MERGE, &["name"]),
    ListRow("PodSpec", "hostAliases", "ip", MERGE, &["ip"]),
    ListRow("PodSpec", "imagePullSecrets", "name", MERGE, &["name"]),
    ListRow("PodSpec", "resourceClaims", "name", RETAIN, &["name"]),
    ListRow("PodSpec", "schedulingGates", "name", MERGE, &["name"]),
    ListRow(
        "PodSpec",
        "topologySpreadConstraints",
        "topologyKey",
        MERGE,
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ListRow("PodSpec", "volumes", "name", RETAIN, &["name"]),
    ListRow("PodStatus", "hostIPs", "ip", MERGE, &[]),
    ListRow("PodStatus", "podIPs", "ip", MERGE, &["ip"]),
    ListRow("PodStatus", "resourceClaimStatuses", "name", RETAIN, &["name"]),
    ListRow("ResourceRequirements", "claims", "", "", &["name"]),
    ListRow("ServiceAccount", "secrets", "name", MERGE, &["name"]),
    ListRow("ServiceSpec", "ports", "port", MERGE, &["port", "protocol"]),
    ListRow("NodeSpec", "podCIDRs", "=", MERGE, &[]),
    ListRow("NodeStatus", "addresses", "type", MERGE, &["type"]),
    ListRow("StatefulSetSpec", "volumeClaimTemplates", "", "", &[]),
    ListRow("MutatingWebhookConfiguration", "webhooks", "name", MERGE, &["name"]),
    ListRow("ValidatingWebhookConfiguration", "webhooks", "name", MERGE, &["name"]),
    ListRow("MutatingWebhook", "matchConditions", "name", MERGE, &["name"]),
    ListRow("ValidatingWebhook", "matchConditions", "name", MERGE, &["name"]),
    ListRow("Endpoint", "addresses", "", "", &["="]),
    ListRow("EndpointSlice", "ports", "", "", &[]),
    ListRow("ObjectMeta", "ownerReferences", "uid", MERGE, &["uid"]),
    ListRow("ObjectMeta", "finalizers", "=", MERGE, &["="]),
    ListRow("JSONSchemaProps", "x-kubernetes-validations", "rule", MERGE, &["rule"]),
];

/// Types that server-side apply takes as one value.
const ATOMIC_TYPES: &[&str] = &[
    "LabelSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "ConfigMapKeySelector",
    "SecretKeySelector",
    "FileKeySelector",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "LocalObjectReference",
    "ObjectReference",
    "SecretReference",
    "TypedLocalObjectReference",
    "ScopeSelector",
    "EndpointAddress",
    "OwnerReference",
    "IngressClassParametersReference",
    "Subject",
    "RoleRef",
];

/// Maps that server-side apply takes as one value: type, field.
const ATOMIC_FIELDS: &[(&str, &str)] = &[
    ("ServiceSpec", "selector"),
    ("ReplicationControllerSpec", "selector"),
    ("PodSpec", "nodeSelector"),
    ("PersistentVolumeClaimSpec", "dataSource"),
];

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Writes the `x-kubernetes-…` extensions into the definitions.
pub fn annotate(defs: &mut Definitions) {
    for (name, schema) in defs.iter_mut() {
        let ty = short(name).to_owned();
        if ATOMIC_TYPES.contains(&ty.as_str()) {
            schema["x-kubernetes-map-type"] = json!("atomic");
        }
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (field, property) in properties {
            annotate_field(&ty, field, property);
        }
    }
}

fn annotate_field(ty: &str, field: &str, property: &mut Value) {
    if ATOMIC_FIELDS.contains(&(ty, field)) {
        property["x-kubernetes-map-type"] = json!("atomic");
    }
    // The update strategy's parameters depend on its type: a patch that changes the type must not keep the others'.
    if (ty, field) == ("DeploymentSpec", "strategy") {
        property["x-kubernetes-patch-strategy"] = json!("retainKeys");
    }
    if property.get("type").and_then(Value::as_str) != Some("array") {
        return;
    }
    let conditions = ListRow("", "conditions", "type", MERGE, &["type"]);
    let row = LISTS.iter().find(|r| r.0 == ty && r.1 == field);
    let row = row.or_else(|| (field == "conditions" && ty.ends_with("Status")).then_some(&conditions));
    match row {
        Some(row) => annotate_list(row, property),
        None => property["x-kubernetes-list-type"] = json!("atomic"),
    }
}

fn annotate_list(row: &ListRow, property: &mut Value) {
    match row.2 {
        "" => {}
        "=" => property["x-kubernetes-patch-strategy"] = json!(row.3),
        key => {
            property["x-kubernetes-patch-strategy"] = json!(row.3);
            property["x-kubernetes-patch-merge-key"] = json!(key);
        }
    }
    match row.4 {
        [] if row.2 == "=" => property["x-kubernetes-list-type"] = json!("set"),
        [] => property["x-kubernetes-list-type"] = json!("atomic"),
        ["="] => property["x-kubernetes-list-type"] = json!("set"),
        keys => {
            property["x-kubernetes-list-type"] = json!("map");
            property["x-kubernetes-list-map-keys"] = json!(keys);
        }
    }
}
