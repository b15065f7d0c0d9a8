//! Namespaces: what each one gets (its `default` account, the root CA), and how one goes away.

use super::bootstrap::put;
use crate::object::{self, is_terminating, list, name, text};
use crate::server::Core;
use crate::store::Change;
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Gives a namespace its service account and the CA's certificate.
pub async fn furnish(core: &Arc<Core>, namespace: &str) -> Result<()> {
    let account = json!({"metadata": {"name": "default", "namespace": namespace}});
    put(core, "", "serviceaccounts", account, false).await?;
    let note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
    let ca = json!({
        "metadata": {"name": "kube-root-ca.crt", "namespace": namespace, "annotations": {"kubernetes.io/description": note}},
        "data": {"ca.crt": core.pki.ca_pem()},
    });
    put(core, "", "configmaps", ca, true).await
}

/// Runs until shutdown.
pub fn spawn(core: Arc<Core>) {
    let mut changes = core.store.subscribe_all();
    tokio::spawn(async move {
        sweep(&core).await;
        let shutdown = core.shutdown.clone();
        loop {
            tokio::select! {
                received = changes.recv() => match received {
                    Ok(change) => react(&core, &change).await,
                    Err(RecvError::Lagged(_)) => sweep(&core).await,
                    Err(RecvError::Closed) => return,
                },
                // What could not be finished at once (finalizers, pods that stop) is looked at again.
                () = tokio::time::sleep(Duration::from_secs(5)) => sweep_terminating(&core).await,
                () = shutdown.cancelled() => return,
            }
        }
    });
}

async fn react(core: &Arc<Core>, change: &Change) {
    let value = &change.object.value;
    match &*change.storage {
        "/namespaces" if !change.deleted && is_terminating(value) => empty(core, name(value)).await,
        "/namespaces" if !change.deleted => report(furnish(core, name(value)).await),
        // The account and the CA's certificate come back when someone deletes them.
        "/serviceaccounts" | "/configmaps" if change.deleted => {
            let namespace = object::namespace(value);
            let stored = core.store.get("/namespaces", namespace);
            let Some(stored) = stored else { return };
            if is_terminating(&stored.value) {
                empty(core, namespace).await;
            } else if matches!(name(value), "default" | "kube-root-ca.crt") {
                report(furnish(core, namespace).await);
            }
        }
        _ if change.deleted && !object::namespace(value).is_empty() => {
            let namespace = object::namespace(value);
            let terminating =
                core.store.get("/namespaces", namespace).is_some_and(|n| is_terminating(&n.value));
            if terminating {
                empty(core, namespace).await;
            }
        }
        _ => {}
    }
}

fn report(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot furnish a namespace");
    }
}

async fn sweep(core: &Arc<Core>) {
    for (key, stored) in core.store.list("/namespaces", "").items {
        if !is_terminating(&stored.value) {
            report(furnish(core, &key).await);
        }
    }
    sweep_terminating(core).await;
}

async fn sweep_terminating(core: &Arc<Core>) {
    for (key, stored) in core.store.list("/namespaces", "").items {
        if is_terminating(&stored.value) {
            empty(core, &key).await;
        }
    }
}

/// Deletes what is in a terminating namespace; when nothing is left, lets the namespace go.
async fn empty(core: &Arc<Core>, namespace: &str) {
    let registry = core.registry.load_full();
    let prefix = format!("{namespace}/");
    let mut left: Vec<(String, usize, Vec<String>)> = Vec::new();
    for resource in registry.collections().filter(|r| r.namespaced) {
        for (key, stored) in core.store.list(&resource.storage, &prefix).items {
            if !is_terminating(&stored.value) {
                let options = crate::api::delete::Options::default();
                // One that cannot be deleted is counted as left below.
                let _ = crate::api::delete::delete(core, resource, &key, &options).await;
            }
        }
        let items = core.store.list(&resource.storage, &prefix).items;
        if !items.is_empty() {
            let finalizers = items.iter().flat_map(|(_, s)| list(&s.value, "/metadata/finalizers"));
            let finalizers = finalizers.filter_map(Value::as_str).map(str::to_owned).collect();
            left.push((resource.qualified(), items.len(), finalizers));
        }
    }
    let Some(stored) = core.store.get("/namespaces", namespace) else { return };
    if !is_terminating(&stored.value) {
        return;
    }
    let mut new = stored.value.clone();
    let storage: Arc<str> = "/namespaces".into();
    // Losing a race only means that the next change starts this again.
    if left.is_empty() {
        object::child(&mut new, "spec").insert("finalizers".into(), json!([]));
        let done = list(&new, "/metadata/finalizers").is_empty();
        let _ = if done {
            core.store.delete(&storage, namespace, stored.version).await
        } else {
            core.store.update(&storage, namespace, stored.version, new).await
        };
        return;
    }
    let conditions = conditions(&stored.value, &left);
    object::child(&mut new, "status").insert("conditions".into(), conditions);
    let _ = core.store.update(&storage, namespace, stored.version, new).await;
}

fn conditions(namespace: &Value, left: &[(String, usize, Vec<String>)]) -> Value {
    let what: Vec<String> = left.iter().map(|(r, n, _)| format!("{r} has {n} resource instances")).collect();
    let mut waiting: Vec<&String> = left.iter().flat_map(|(_, _, f)| f).collect();
    waiting.sort();
    waiting.dedup();
    let waiting: Vec<String> =
        waiting.into_iter().map(|f| format!("{f} in some resource instances")).collect();
    let before = list(namespace, "/status/conditions");
    let condition = |kind: &str, on: bool, reason: &str, message: String| {
        let status = if on { "True" } else { "False" };
        let same = before.iter().find(|c| text(c, "/type") == kind && text(c, "/status") == status);
        let since = same.map_or_else(object::now, |c| text(c, "/lastTransitionTime").to_owned());
        json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message})
    };
    json!([
        condition(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into()
        ),
        condition(
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", what.join(", "))
        ),
        condition(
            "NamespaceFinalizersRemaining",
            !waiting.is_empty(),
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", waiting.join(", "))
        ),
    ])
}
