//! Defaults of the kinds that make pods.

use super::pod_spec;
use crate::object::{as_map, child, default, items_mut, str_of, uid};
use serde_json::{Map, Value, json};

/// Kinds of `apps` and `batch`.
pub fn defaults(plural: &str, value: &mut Value) {
    match plural {
        "deployments" => deployment(child(value, "spec")),
        "replicasets" => {
            let spec = child(value, "spec");
            default(spec, "replicas", 1);
            template(spec);
        }
        "statefulsets" => stateful_set(child(value, "spec")),
        "daemonsets" => daemon_set(child(value, "spec")),
        "jobs" => job(value),
        "cronjobs" => cron_job(child(value, "spec")),
        _ => {}
    }
}

fn template(spec: &mut Map<String, Value>) {
    let template = spec.entry("template").or_insert_with(|| json!({}));
    child(template, "metadata");
    pod_spec(child(template, "spec"));
}

fn deployment(spec: &mut Map<String, Value>) {
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    let strategy = as_map(spec.entry("strategy").or_insert_with(|| json!({})));
    default(strategy, "type", "RollingUpdate");
    if str_of(strategy, "type") == "RollingUpdate" {
        let rolling = as_map(strategy.entry("rollingUpdate").or_insert_with(|| json!({})));
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    template(spec);
}

fn stateful_set(spec: &mut Map<String, Value>) {
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "podManagementPolicy", "OrderedReady");
    let strategy = as_map(spec.entry("updateStrategy").or_insert_with(|| json!({})));
    default(strategy, "type", "RollingUpdate");
    if str_of(strategy, "type") == "RollingUpdate" {
        default(strategy, "rollingUpdate", json!({"partition": 0}));
    }
    default(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    for claim in items_mut(spec, "volumeClaimTemplates") {
        default(as_map(claim), "apiVersion", "v1");
        default(as_map(claim), "kind", "PersistentVolumeClaim");
        default(child(claim, "spec"), "volumeMode", "Filesystem");
        default(child(claim, "status"), "phase", "Pending");
    }
    template(spec);
}

fn daemon_set(spec: &mut Map<String, Value>) {
    default(spec, "revisionHistoryLimit", 10);
    let strategy = as_map(spec.entry("updateStrategy").or_insert_with(|| json!({})));
    default(strategy, "type", "RollingUpdate");
    if str_of(strategy, "type") == "RollingUpdate" {
        let rolling = as_map(strategy.entry("rollingUpdate").or_insert_with(|| json!({})));
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    template(spec);
}

fn job_spec(spec: &mut Map<String, Value>) {
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        spec.insert("completions".into(), json!(1));
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    template(spec);
}

fn job(value: &mut Value) {
    job_spec(child(value, "spec"));
    let manual = value.pointer("/spec/manualSelector") == Some(&json!(true));
    if manual || value.pointer("/spec/selector").is_some() {
        return;
    }
    default(child(value, "spec"), "manualSelector", false);
    // The selector is made from the uid, so the uid is chosen before the object is stamped.
    let uid = match uid(value) {
        "" => crate::object::new_uid(),
        uid => uid.to_owned(),
    };
    crate::object::meta_mut(value).insert("uid".into(), uid.clone().into());
    let name = crate::object::name(value).to_owned();
    let spec = child(value, "spec");
    spec.insert("selector".into(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    let template = spec.entry("template").or_insert_with(|| json!({}));
    let labels = as_map(crate::object::meta_mut(template).entry("labels").or_insert_with(|| json!({})));
    for (key, label) in [("controller-uid", &uid), ("job-name", &name)] {
        labels.insert(format!("batch.kubernetes.io/{key}"), json!(label));
        labels.insert(key.to_owned(), json!(label));
    }
}

fn cron_job(spec: &mut Map<String, Value>) {
    default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    let template = spec.entry("jobTemplate").or_insert_with(|| json!({}));
    child(template, "metadata");
    // The job's own defaults come when it is made.
    self::template(child(template, "spec"));
}

/// Replication controllers select by their template's labels.
pub fn replication_controller(value: &mut Value) {
    let labels = value.pointer("/spec/template/metadata/labels").cloned();
    let spec = child(value, "spec");
    default(spec, "replicas", 1);
    if let Some(labels) = labels {
        default(spec, "selector", labels);
    }
    template(spec);
}
