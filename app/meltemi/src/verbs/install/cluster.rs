//! Objects into and out of a cluster: server-side apply, waiting, and finding again what we installed.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use serde_json::Value;

/// The field manager, as istioctl's, so that one can take over from the other.
const MANAGER: &str = "istio-operator";

/// A kind that our charts make.
#[derive(Debug, Clone, Copy)]
pub struct InstalledKind {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    /// A cluster may do without it, and so may the mesh.
    optional: bool,
}

const fn kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> InstalledKind {
    InstalledKind { group, kind, plural, namespaced, optional: false }
}

const fn optional(group: &'static str, kind: &'static str, plural: &'static str) -> InstalledKind {
    InstalledKind { group, kind, plural, namespaced: true, optional: true }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// In the order of removal: webhooks first, so that they block nothing once istiod is gone; CRDs last, because with
/// them go the users' objects.
pub const KINDS: &[InstalledKind] = &[
    kind(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        false,
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        false,
    ),
    optional("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    optional("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
    kind("apps", "Deployment", "deployments", true),
    kind("", "Service", "services", true),
    kind("", "ConfigMap", "configmaps", true),
    kind(RBAC, "RoleBinding", "rolebindings", true),
    kind(RBAC, "Role", "roles", true),
    kind(RBAC, "ClusterRoleBinding", "clusterrolebindings", false),
    kind(RBAC, "ClusterRole", "clusterroles", false),
    kind("", "ServiceAccount", "serviceaccounts", true),
    kind("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false),
];

const NAMESPACE: InstalledKind = kind("", "Namespace", "namespaces", false);

impl InstalledKind {
    fn of(name: &str) -> Option<Self> {
        KINDS.iter().chain([&NAMESPACE]).find(|kind| kind.kind == name).copied()
    }

    fn resource(self) -> ApiResource {
        let version = if self.group == "autoscaling" { "v2" } else { "v1" };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(self.group, version, self.kind), self.plural)
    }

    fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.resource())
        } else {
            Api::all_with(client.clone(), &self.resource())
        }
    }
}

/// An object that we installed, by what it is called in messages.
#[derive(Debug, Clone)]
pub struct Installed {
    kind: InstalledKind,
    namespace: String,
    name: String,
}

impl Installed {
    /// `kind:namespace:name`, as istioctl prints it.
    pub fn title(&self) -> String {
        format!("{}:{}:{}", self.kind.kind, self.namespace, self.name)
    }

    /// Whether it is a CRD.
    pub fn is_crd(&self) -> bool {
        self.kind.kind == "CustomResourceDefinition"
    }

    /// Whether a rendered object is this one.
    pub fn is(&self, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        text("/kind") == self.kind.kind
            && text("/metadata/name") == self.name
            && (!self.kind.namespaced || text("/metadata/namespace") == self.namespace)
    }
}

/// Applies one object by server-side apply.
///
/// # Errors
/// When the API server refuses it. A kind that the mesh can do without is left out where the server has none.
pub async fn apply(client: &Client, object: &Value) -> anyhow::Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let Some(kind) = InstalledKind::of(text("/kind")) else {
        bail!("the charts hold a {:?}, which cannot be installed", text("/kind"));
    };
    let parameters = PatchParams::apply(MANAGER).force();
    let applied = kind.api(client, namespace).patch(name, &parameters, &Patch::Apply(object)).await;
    match applied {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 && kind.optional => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot apply {} {name}", kind.kind)),
    }
}

/// Waits until a CRD serves its kind.
pub async fn established(client: &Client, name: &str) -> anyhow::Result<()> {
    let Some(kind) = InstalledKind::of("CustomResourceDefinition") else { return Ok(()) };
    let condition =
        |object: Option<&DynamicObject>| object.is_some_and(|crd| has_condition(&crd.data, "Established"));
    await_condition(kind.api(client, ""), name, condition).await?;
    Ok(())
}

fn has_condition(data: &Value, name: &str) -> bool {
    let conditions = data.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == name && condition["status"] == "True")
}

/// Waits until all pods of a Deployment are of its newest version and ready.
///
/// # Errors
/// When the time is over; the error says what each pod waits for.
pub async fn rolled_out(
    client: &Client,
    namespace: &str,
    name: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let waiting = await_condition(deployments, name, |deployment: Option<&Deployment>| {
        deployment.is_some_and(is_complete)
    });
    match tokio::time::timeout(patience, waiting).await {
        Ok(done) => done.map(|_| ()).with_context(|| format!("cannot watch Deployment/{namespace}/{name}")),
        Err(_) => {
            let reasons = pending(client, namespace, name).await;
            bail!(
                "resources not ready after {}s: Deployment/{namespace}/{name} {reasons}",
                patience.as_secs()
            )
        }
    }
}

fn is_complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) >= wanted
        && status.available_replicas.unwrap_or(0) >= wanted
        && status.replicas.unwrap_or(0) == status.updated_replicas.unwrap_or(0)
}

/// Why the pods of a Deployment are not ready.
async fn pending(client: &Client, namespace: &str, deployment: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let prefix = format!("{deployment}-");
    let reasons: Vec<String> =
        list.iter().filter(|pod| pod.name_any().starts_with(&prefix)).filter_map(waiting_reason).collect();
    if reasons.is_empty() { "(no pod says why)".to_owned() } else { format!("({})", reasons.join("; ")) }
}

fn waiting_reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers {
        if let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            let message = waiting.message.as_deref().unwrap_or_default();
            return Some(format!("{} {reason} {message}", pod.name_any()).trim_end().to_owned());
        }
    }
    let not_ready = status.conditions.iter().flatten().find(|condition| condition.status != "True")?;
    Some(format!("{} is not {}", pod.name_any(), not_ready.type_))
}

/// What carries our labels, in the order of removal.
///
/// # Errors
/// When the API server cannot be asked. A kind that it does not have holds nothing.
pub async fn installed(client: &Client, selector: &str) -> anyhow::Result<Vec<Installed>> {
    let mut found = Vec::new();
    for kind in KINDS {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
        let list = match api.list(&ListParams::default().labels(selector)).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", kind.plural)),
        };
        found.extend(list.items.into_iter().map(|object| Installed {
            kind: *kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }));
    }
    Ok(found)
}

/// Deletes an object; one that is gone already is fine.
///
/// # Errors
/// When the API server refuses.
pub async fn delete(client: &Client, object: &Installed) -> anyhow::Result<()> {
    let api = object.kind.api(client, &object.namespace);
    match api.delete(&object.name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete {}", object.title())),
    }
}

/// The image tag of the running istiod, if there is one.
pub async fn running_version(client: &Client, namespace: &str, revision: &str) -> Option<String> {
    let name = if revision.is_empty() { "istiod".to_owned() } else { format!("istiod-{revision}") };
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = deployments.get_opt(&name).await.ok()??;
    let containers = deployment.spec?.template.spec?.containers;
    let image = containers.into_iter().find(|container| container.name == "discovery")?.image?;
    image.rsplit_once(':').map(|(_, tag)| tag.to_owned())
}
