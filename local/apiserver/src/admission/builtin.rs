//! Built-in admission: service accounts, tokens and priorities of pods, quotas of pods, the status of CRDs, and the
//! default class of claims.

use crate::api::Call;
use crate::error::{ApiError, Result};
use crate::object::{self, as_map, child, items_mut, list, name, text};
use crate::store::key;
use serde_json::{Value, json};

/// Where every container finds its API credentials.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Completes an object.
pub fn mutate(call: &Call, value: &mut Value, old: Option<&Value>) -> Result<()> {
    if call.resource.is("apiextensions.k8s.io", "customresourcedefinitions")
        && call.path.subresource.is_empty()
    {
        crate::crd::complete(value);
    }
    if call.resource.is("", "pods") && old.is_none() {
        service_account(call, value)?;
        priority(call, value)?;
    }
    if call.resource.is("", "persistentvolumeclaims") && old.is_none() {
        storage_class(call, value);
    }
    Ok(())
}

/// A claim that names no class gets the default one; one that names "" wants none.
fn storage_class(call: &Call, claim: &mut Value) {
    if claim.pointer("/spec/storageClassName").is_some_and(Value::is_string) {
        return;
    }
    let classes = call.core.store.list("storage.k8s.io/storageclasses", "").items;
    let default = |class: &Value| {
        object::map(class, "/metadata/annotations")
            .is_some_and(|notes| object::str_of(notes, DEFAULT_CLASS) == "true")
    };
    // Of several, the youngest.
    let defaults = classes.iter().map(|(_, stored)| &stored.value).filter(|class| default(class));
    if let Some(class) = defaults.max_by_key(|class| text(class, "/metadata/creationTimestamp")) {
        child(claim, "spec").insert("storageClassName".into(), name(class).into());
    }
}

/// The annotation of a StorageClass that is for claims which name none.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Checks an object against others.
pub fn validate(call: &Call, value: &Value) -> Result<()> {
    if call.resource.is("", "pods") {
        let quotas = call.core.store.list("/resourcequotas", &format!("{}/", object::namespace(value)));
        for (_, quota) in quotas.items {
            pod_quota(call, value, &quota.value)?;
        }
    }
    Ok(())
}

/// The one quota that makes sense on a local cluster: how many pods a namespace may have.
fn pod_quota(call: &Call, pod: &Value, quota: &Value) -> Result<()> {
    let hard = ["/spec/hard/pods", "/spec/hard/count~1pods"].iter().find_map(|p| quota.pointer(p));
    let limit = hard.and_then(|h| h.as_i64().or_else(|| h.as_str()?.parse().ok()));
    let Some(limit) = limit else { return Ok(()) };
    let used = call.core.store.list("/pods", &format!("{}/", object::namespace(pod))).items.len();
    if i64::try_from(used).unwrap_or(i64::MAX) < limit {
        return Ok(());
    }
    let text = format!(
        "exceeded quota: {}, requested: pods=1, used: pods={used}, limited: pods={limit}",
        name(quota)
    );
    Err(ApiError::forbidden("pods", name(pod), text))
}

fn service_account(call: &Call, pod: &mut Value) -> Result<()> {
    let spec = child(pod, "spec");
    object::default(spec, "serviceAccountName", "default");
    let account = object::str_of(spec, "serviceAccountName").to_owned();
    spec.insert("serviceAccount".into(), account.clone().into());
    let stored = call.core.store.get("/serviceaccounts", &key(&call.path.namespace, &account));
    let Some(stored) = stored else {
        let text = format!(
            "error looking up service account {}/{account}: serviceaccount {account:?} not found",
            call.path.namespace
        );
        return Err(ApiError::forbidden("pods", name(pod), text));
    };
    let wanted = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_bool);
    let mounts = wanted(pod, "/spec/automountServiceAccountToken")
        .or_else(|| wanted(&stored.value, "/automountServiceAccountToken"))
        .unwrap_or(true);
    let secrets = list(&stored.value, "/imagePullSecrets").to_vec();
    if list(pod, "/spec/imagePullSecrets").is_empty() && !secrets.is_empty() {
        child(pod, "spec").insert("imagePullSecrets".into(), secrets.into());
    }
    if mounts {
        mount_token(pod);
    }
    Ok(())
}

fn mount_token(pod: &mut Value) {
    let lacks = |c: &Value| !list(c, "/volumeMounts").iter().any(|m| text(m, "/mountPath") == TOKEN_PATH);
    let containers = ["/spec/containers", "/spec/initContainers"];
    if !containers.iter().any(|p| list(pod, p).iter().any(lacks)) {
        return;
    }
    let existing =
        list(pod, "/spec/volumes").iter().find(|v| text(v, "/name").starts_with("kube-api-access-"));
    let volume = existing.map_or_else(
        || format!("kube-api-access-{}", object::name_suffix()),
        |v| text(v, "/name").to_owned(),
    );
    let missing = existing.is_none();
    let spec = child(pod, "spec");
    if missing {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(token_volume(&volume));
        }
    }
    for field in ["containers", "initContainers"] {
        for container in items_mut(spec, field).filter(|c| lacks(c)) {
            let mounts = as_map(container).entry("volumeMounts").or_insert_with(|| json!([]));
            if let Some(mounts) = mounts.as_array_mut() {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
            }
        }
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

fn priority(call: &Call, pod: &mut Value) -> Result<()> {
    let class = text(pod, "/spec/priorityClassName").to_owned();
    let system = match class.as_str() {
        "system-node-critical" => Some(2_000_001_000),
        "system-cluster-critical" => Some(2_000_000_000),
        "" => Some(0),
        _ => None,
    };
    let value = match system {
        Some(value) => json!(value),
        None => {
            let stored = call.core.store.get("scheduling.k8s.io/priorityclasses", &class);
            let stored = stored.ok_or_else(|| {
                ApiError::forbidden(
                    "pods",
                    name(pod),
                    format!("no PriorityClass with name {class} was found"),
                )
            })?;
            stored.value.get("value").cloned().unwrap_or_else(|| json!(0))
        }
    };
    let spec = child(pod, "spec");
    spec.insert("priority".into(), value);
    object::default(spec, "preemptionPolicy", "PreemptLowerPriority");
    Ok(())
}
