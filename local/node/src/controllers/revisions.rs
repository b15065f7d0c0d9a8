//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, for `kubectl rollout history` and `undo`.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::{Fault, ownership};

/// The label of a pod that names the revision it was made from.
pub const HASH: &str = "controller-revision-hash";
/// How many old revisions are kept when nothing is said.
const KEPT: usize = 10;

/// Notes the present template as the newest revision, and forgets the oldest beyond the limit.
pub async fn record<K>(
    client: &Client,
    owner: &K,
    (template, hash): (&PodTemplateSpec, &str),
    limit: Option<i32>,
) -> Result<(), Fault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Debug,
{
    let api: Api<ControllerRevision> =
        Api::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let uid = owner.uid().unwrap_or_default();
    let mut all = api.list(&ListParams::default()).await?.items;
    all.retain(|revision| ownership::is_controlled_by(&revision.metadata, &uid));
    all.sort_by_key(|revision| revision.revision);
    let name = format!("{}-{hash}", owner.name_any());
    let newest = all.last().map_or(0, |revision| revision.revision);
    match all.iter().position(|revision| revision.name_any() == name) {
        None => {
            super::exists_is_fine(
                api.create(&PostParams::default(), &made(owner, name, template, newest + 1)).await,
            )?;
        }
        // An older template is back: it becomes the newest.
        Some(place) if place + 1 < all.len() => {
            let patch = Patch::Merge(
                json!({"revision": newest + 1, "metadata": {"annotations": annotations(owner)}}),
            );
            super::gone_is_fine(api.patch(&name, &PatchParams::default(), &patch).await)?;
        }
        Some(place) if all[place].annotations() != &annotations(owner) => {
            let patch = Patch::Merge(json!({"metadata": {"annotations": annotations(owner)}}));
            super::gone_is_fine(api.patch(&name, &PatchParams::default(), &patch).await)?;
        }
        Some(_) => {}
    }
    all.retain(|revision| revision.name_any() != format!("{}-{hash}", owner.name_any()));
    let kept = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(KEPT);
    for old in all.iter().take(all.len().saturating_sub(kept)) {
        super::gone_is_fine(api.delete(&old.name_any(), &DeleteParams::background()).await)?;
    }
    Ok(())
}

/// The template of an earlier revision; `None` when it is no longer known.
pub async fn template<K>(client: &Client, owner: &K, hash: &str) -> Result<Option<PodTemplateSpec>, Fault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<ControllerRevision> =
        Api::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let found = api.get_opt(&format!("{}-{hash}", owner.name_any())).await?;
    let mut data = found.and_then(|revision| revision.data).map(|data| data.0).unwrap_or_default();
    let template = data.pointer_mut("/spec/template").map(Value::take);
    Ok(template.and_then(|template| serde_json::from_value(template).ok()))
}

type Annotations = std::collections::BTreeMap<String, String>;

fn annotations<K: Resource>(owner: &K) -> Annotations {
    let mut annotations = owner.annotations().clone();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations
}

fn made<K>(owner: &K, name: String, template: &PodTemplateSpec, revision: i64) -> ControllerRevision
where
    K: Resource<DynamicType = ()>,
{
    // kubectl finds revisions by the labels of their pods.
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: owner.namespace(),
            labels,
            annotations: Some(annotations(owner)),
            owner_references: Some(ownership::controlled_by(owner)),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data(template))),
        revision,
    }
}

/// A strategic merge patch that brings the owner back to this template.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}
