//! Objects that every cluster has: the first namespaces, the `kubernetes` service, the built-in roles.

use crate::object::{self, meta_mut, name, namespace};
use crate::registry::Resource;
use crate::server::Core;
use crate::store::{StoreError, key};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;

/// Makes what is missing and corrects what the server owns.
pub async fn ensure(core: &Arc<Core>) -> Result<()> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        put(core, "", "namespaces", json!({"metadata": {"name": name}}), false).await?;
    }
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        super::namespaces::furnish(core, name).await?;
    }
    kubernetes_service(core).await?;
    for (plural, object) in roles() {
        put(core, "rbac.authorization.k8s.io", plural, object, false).await?;
    }
    Ok(())
}

/// Writes an object past admission; with `overwrite` its content replaces what is there.
pub async fn put(
    core: &Arc<Core>,
    group: &str,
    plural: &str,
    mut value: Value,
    overwrite: bool,
) -> Result<()> {
    let registry = core.registry.load();
    let resource: &Arc<Resource> = registry.find_any_version(group, plural).context("no such resource")?;
    let map = object::as_map(&mut value);
    let mut ordered = serde_json::Map::new();
    ordered.insert("kind".into(), resource.kind.clone().into());
    ordered.insert("apiVersion".into(), resource.api_version().into());
    ordered.extend(std::mem::take(map));
    *map = ordered;
    let key = key(namespace(&value), name(&value));
    crate::strategy::prepare_create(resource, &mut value);
    crate::defaults::apply(resource, &mut value);
    for _ in 0..8 {
        let result = match core.store.get(&resource.storage, &key) {
            None => {
                let meta = meta_mut(&mut value);
                meta.insert("uid".into(), object::new_uid().into());
                meta.insert("creationTimestamp".into(), object::now().into());
                core.store.create(&resource.storage, &key, value.clone()).await
            }
            Some(_) if !overwrite => return Ok(()),
            Some(old) => {
                let mut new = value.clone();
                new["metadata"] = old.value["metadata"].clone();
                core.store.update(&resource.storage, &key, old.version, new).await
            }
        };
        match result {
            Ok(_) => return Ok(()),
            Err(StoreError::Exists | StoreError::Stale | StoreError::Missing) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {plural} {key}")),
        }
    }
    Ok(())
}

async fn kubernetes_service(core: &Arc<Core>) -> Result<()> {
    let ip = core.options.kubernetes_ip().to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let port = core.options.advertise.map_or(6443, |(_, port)| port);
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
    });
    put(core, "", "services", service, true).await?;
    let Some((address, port)) = core.options.advertise else { return Ok(()) };
    let slice = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    put(core, "discovery.k8s.io", "endpointslices", slice, true).await?;
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address.to_string()}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    });
    put(core, "", "endpoints", endpoints, true).await
}

fn role(name: &str, rules: Value) -> (&'static str, Value) {
    let labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    ("clusterroles", json!({"metadata": {"name": name, "labels": labels}, "rules": rules}))
}

fn bind(name: &str, group: &str) -> (&'static str, Value) {
    let labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    let subject = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group});
    let reference = json!({"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": name});
    (
        "clusterrolebindings",
        json!({"metadata": {"name": name, "labels": labels}, "roleRef": reference, "subjects": [subject]}),
    )
}

fn roles() -> Vec<(&'static str, Value)> {
    let everything = json!([
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ]);
    let groups =
        json!(["", "apps", "batch", "autoscaling", "networking.k8s.io", "policy", "discovery.k8s.io"]);
    let read = json!(["get", "list", "watch"]);
    let write = json!(["create", "delete", "deletecollection", "patch", "update"]);
    let visible = json!([
        "bindings",
        "configmaps",
        "controllerrevisions",
        "cronjobs",
        "daemonsets",
        "deployments",
        "deployments/scale",
        "endpoints",
        "endpointslices",
        "events",
        "horizontalpodautoscalers",
        "ingresses",
        "jobs",
        "limitranges",
        "namespaces",
        "networkpolicies",
        "persistentvolumeclaims",
        "poddisruptionbudgets",
        "pods",
        "pods/log",
        "pods/status",
        "replicasets",
        "replicasets/scale",
        "replicationcontrollers",
        "resourcequotas",
        "serviceaccounts",
        "services",
        "statefulsets",
        "statefulsets/scale",
    ]);
    let editable = json!([
        "configmaps",
        "cronjobs",
        "daemonsets",
        "deployments",
        "deployments/scale",
        "endpoints",
        "endpointslices",
        "events",
        "horizontalpodautoscalers",
        "ingresses",
        "jobs",
        "networkpolicies",
        "persistentvolumeclaims",
        "poddisruptionbudgets",
        "pods",
        "pods/attach",
        "pods/eviction",
        "pods/exec",
        "pods/portforward",
        "replicasets",
        "replicasets/scale",
        "replicationcontrollers",
        "secrets",
        "serviceaccounts",
        "services",
        "statefulsets",
        "statefulsets/scale",
    ]);
    let view = json!({"verbs": read, "apiGroups": groups, "resources": visible});
    let edit = json!({"verbs": write, "apiGroups": groups, "resources": editable});
    let secrets = json!({"verbs": read, "apiGroups": [""], "resources": ["secrets"]});
    // Not "*": that would hold the verbs `escalate` and `bind`.
    let own_roles = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let rbac = json!({"verbs": own_roles, "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]});
    let paths = json!([
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/"
    ]);
    let reviews = json!({"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]});
    let own = json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]});
    let delegate = json!([
        {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"]},
        {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"]},
    ]);
    vec![
        role("cluster-admin", everything),
        role("view", json!([view])),
        role("edit", json!([view, edit, secrets])),
        role("admin", json!([view, edit, secrets, rbac])),
        role("system:auth-delegator", delegate),
        role("system:discovery", json!([{"verbs": ["get"], "nonResourceURLs": paths}])),
        role("system:basic-user", json!([reviews, own])),
        role(
            "system:service-account-issuer-discovery",
            json!([{"verbs": ["get"],
            "nonResourceURLs": ["/.well-known/openid-configuration", "/openid/v1/jwks"]}]),
        ),
        bind("cluster-admin", crate::auth::MASTERS),
        bind("system:discovery", "system:authenticated"),
        bind("system:basic-user", "system:authenticated"),
        bind("system:service-account-issuer-discovery", "system:serviceaccounts"),
    ]
}
