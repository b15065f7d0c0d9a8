//! The table of built-in resources.

use super::{Resource, ScalePaths};
use crate::schema::{Schema, builtin::definitions};
use serde_json::{Value, json};
use std::sync::Arc;

const NS: u8 = 1;
const STATUS: u8 = 2;
const SCALE: u8 = 4;
const REVIEW: u8 = 8;
const ALL: u8 = 16;

/// group, version, plural, kind, flags, short names, schema definition.
type Row =
    (&'static str, &'static str, &'static str, &'static str, u8, &'static [&'static str], &'static str);

const CORE: &str = "io.k8s.api.core.v1";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("", "v1", "bindings", "Binding", NS | REVIEW, &[], CORE),
    ("", "v1", "configmaps", "ConfigMap", NS, &["cm"], CORE),
    ("", "v1", "endpoints", "Endpoints", NS, &["ep"], CORE),
    ("", "v1", "events", "Event", NS, &["ev"], CORE),
    ("", "v1", "limitranges", "LimitRange", NS, &["limits"], CORE),
    ("", "v1", "namespaces", "Namespace", STATUS, &["ns"], CORE),
    ("", "v1", "nodes", "Node", STATUS, &["no"], CORE),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", NS | STATUS, &["pvc"], CORE),
    ("", "v1", "persistentvolumes", "PersistentVolume", STATUS, &["pv"], CORE),
    ("", "v1", "pods", "Pod", NS | STATUS | ALL, &["po"], CORE),
    ("", "v1", "podtemplates", "PodTemplate", NS, &[], CORE),
    ("", "v1", "replicationcontrollers", "ReplicationController", NS | STATUS | SCALE | ALL, &["rc"], CORE),
    ("", "v1", "resourcequotas", "ResourceQuota", NS | STATUS, &["quota"], CORE),
    ("", "v1", "secrets", "Secret", NS, &[], CORE),
    ("", "v1", "serviceaccounts", "ServiceAccount", NS, &["sa"], CORE),
    ("", "v1", "services", "Service", NS | STATUS | ALL, &["svc"], CORE),
    ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", 0, &[], "io.k8s.api.admissionregistration.v1"),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", 0, &[], "io.k8s.api.admissionregistration.v1"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", STATUS, &["crd", "crds"], "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", NS, &[], "io.k8s.api.apps.v1"),
    ("apps", "v1", "daemonsets", "DaemonSet", NS | STATUS | ALL, &["ds"], "io.k8s.api.apps.v1"),
    ("apps", "v1", "deployments", "Deployment", NS | STATUS | SCALE | ALL, &["deploy"], "io.k8s.api.apps.v1"),
    ("apps", "v1", "replicasets", "ReplicaSet", NS | STATUS | SCALE | ALL, &["rs"], "io.k8s.api.apps.v1"),
    ("apps", "v1", "statefulsets", "StatefulSet", NS | STATUS | SCALE | ALL, &["sts"], "io.k8s.api.apps.v1"),
    ("events.k8s.io", "v1", "events", "Event", NS, &["ev"], "io.k8s.api.events.v1"),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", REVIEW, &[], "io.k8s.api.authentication.v1"),
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", REVIEW, &[], "io.k8s.api.authentication.v1"),
    ("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", NS | REVIEW, &[], "io.k8s.api.authorization.v1"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", REVIEW, &[], "io.k8s.api.authorization.v1"),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", REVIEW, &[], "io.k8s.api.authorization.v1"),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", REVIEW, &[], "io.k8s.api.authorization.v1"),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", NS | STATUS | ALL, &["hpa"], "io.k8s.api.autoscaling.v2"),
    ("batch", "v1", "cronjobs", "CronJob", NS | STATUS | ALL, &["cj"], "io.k8s.api.batch.v1"),
    ("batch", "v1beta1", "cronjobs", "CronJob", NS | STATUS | ALL, &["cj"], "io.k8s.api.batch.v1"),
    ("batch", "v1", "jobs", "Job", NS | STATUS | ALL, &[], "io.k8s.api.batch.v1"),
    ("coordination.k8s.io", "v1", "leases", "Lease", NS, &[], "io.k8s.api.coordination.v1"),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", NS, &[], "io.k8s.api.discovery.v1"),
    ("networking.k8s.io", "v1", "ingressclasses", "IngressClass", 0, &[], "io.k8s.api.networking.v1"),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", NS | STATUS, &["ing"], "io.k8s.api.networking.v1"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", NS, &["netpol"], "io.k8s.api.networking.v1"),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", NS | STATUS, &["pdb"], "io.k8s.api.policy.v1"),
    ("policy", "v1beta1", "poddisruptionbudgets", "PodDisruptionBudget", NS | STATUS, &["pdb"], "io.k8s.api.policy.v1"),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", 0, &[], "io.k8s.api.rbac.v1"),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", 0, &[], "io.k8s.api.rbac.v1"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", NS, &[], "io.k8s.api.rbac.v1"),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", NS, &[], "io.k8s.api.rbac.v1"),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", 0, &["pc"], "io.k8s.api.scheduling.v1"),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", 0, &["sc"], "io.k8s.api.storage.v1"),
];

/// All built-in resources.
pub fn resources() -> impl Iterator<Item = Arc<Resource>> {
    ROWS.iter().map(|row| Arc::new(resource(row)))
}

fn resource(&(group, version, plural, kind, flags, short, package): &Row) -> Resource {
    let has = |flag: u8| flags & flag != 0;
    let reference = format!("#/components/schemas/{package}.{kind}");
    let storage = if plural == "events" { "/events".to_owned() } else { format!("{group}/{plural}") };
    let selector = if plural == "replicationcontrollers" { "/spec/selector" } else { "/status/selector" };
    Resource {
        group: group.into(),
        version: version.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        namespaced: has(NS),
        short_names: short.iter().map(|s| (*s).to_owned()).collect(),
        categories: categories(group, has(ALL)),
        storage: storage.into(),
        storage_version: if older(version) { "v1" } else { version }.into(),
        has_status: has(STATUS),
        scale: has(SCALE).then(|| ScalePaths {
            spec: "/spec/replicas".into(),
            status: "/status/replicas".into(),
            selector: if group == "apps" { "/spec/selector".into() } else { selector.into() },
        }),
        stored: !has(REVIEW),
        schema: Schema { defs: definitions(), root: Arc::new(json!({ "$ref": reference })) },
        custom: None,
    }
}

/// Versions that Kubernetes has dropped and that clients of their time still speak (kubectl 1.20: `create cronjob`,
/// `create pdb`, `apply --prune`). Their objects are those of v1 under another name.
fn older(version: &str) -> bool {
    version == "v1beta1"
}

fn categories(group: &str, all: bool) -> Vec<String> {
    let mut out = Vec::new();
    if all {
        out.push("all".to_owned());
    }
    if group == "admissionregistration.k8s.io" || group == "apiextensions.k8s.io" {
        out.push("api-extensions".to_owned());
    }
    out
}

/// Whether the collection belongs to this resource (events.k8s.io shares the core group's).
pub fn owns_storage(resource: &Resource) -> bool {
    resource.group != "events.k8s.io"
}

/// The built-in object in another version's or group's words; `None` when it is stored as it is served.
pub fn present(resource: &Resource, stored: &Value) -> Option<Value> {
    if resource.group == "events.k8s.io" {
        return Some(rename_event(stored, "events.k8s.io/v1", &EVENT_FIELDS, false));
    }
    older(&resource.version).then(|| {
        let mut value = stored.clone();
        value["apiVersion"] = resource.api_version().into();
        value
    })
}

/// The built-in object in stored words.
pub fn to_storage(resource: &Resource, mut value: Value) -> Value {
    if resource.group == "events.k8s.io" {
        return rename_event(&value, "v1", &EVENT_FIELDS, true);
    }
    if older(&resource.version) {
        value["apiVersion"] = format!("{}/{}", resource.group, resource.storage_version).into();
    }
    value
}

/// events.k8s.io name, core name.
const EVENT_FIELDS: [(&str, &str); 8] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
    ("reportingInstance", "reportingInstance"),
];

fn rename_event(value: &Value, api_version: &str, fields: &[(&str, &str)], to_core: bool) -> Value {
    let Some(map) = value.as_object() else { return value.clone() };
    let renamed = map.iter().map(|(key, v)| {
        let found = fields.iter().find(|(new, old)| key == if to_core { new } else { old });
        let name = found.map_or(key.as_str(), |(new, old)| if to_core { old } else { new });
        (name.to_owned(), v.clone())
    });
    let mut out: serde_json::Map<String, Value> = renamed.collect();
    out.insert("apiVersion".into(), api_version.into());
    Value::Object(out)
}
