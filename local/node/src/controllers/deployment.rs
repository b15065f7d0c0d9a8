//! Deployment: rolls from one ReplicaSet to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::rollout::{Rollout, Set, bounds, next_recreate, next_scales};
use super::{Context, Fault, ownership, workload};

mod status;

use status::{next_look, status};

/// The annotation that numbers a Deployment's revisions.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// How many old, empty ReplicaSets are kept for `rollout undo`.
const HISTORY: usize = 10;

/// Takes one step of one Deployment's rollout and writes its status.
pub async fn reconcile(deployment: Arc<Deployment>, context: Arc<Context>) -> Result<Action, Fault> {
    let Some(spec) = deployment.spec.as_ref().filter(|_| deployment.metadata.deletion_timestamp.is_none())
    else {
        return Ok(Action::await_change());
    };
    let client = &context.client;
    let mut sets = owned_sets(client, &deployment, spec).await?;
    let newest = match sets.iter().position(|set| is_current(set, &deployment, spec)) {
        Some(position) => sets.remove(position),
        None if spec.paused == Some(true) => return report(client, &deployment, None, &sets).await,
        None => create_set(client, &deployment, spec, &sets).await?,
    };
    let newest = renumber(client, &deployment, newest, &sets).await?;
    sets.sort_by_key(revision_of);
    if spec.paused != Some(true) {
        for (name, wanted) in steps(client, spec, &newest, &sets).await? {
            scale(client, &deployment, &name, wanted).await?;
        }
        prune(client, &deployment, spec, &newest, &sets).await?;
    }
    report(client, &deployment, Some(&newest), &sets).await
}

async fn owned_sets(
    client: &Client,
    owner: &Deployment,
    spec: &DeploymentSpec,
) -> Result<Vec<ReplicaSet>, Fault> {
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let list = sets.list(&ListParams::default().labels(&workload::selector_text(&spec.selector))).await?;
    ownership::claim(client, owner, &sets, list.items).await
}

fn hash_of(deployment: &Deployment, spec: &DeploymentSpec) -> String {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    workload::template_hash(&spec.template, collisions)
}

fn is_current(set: &ReplicaSet, deployment: &Deployment, spec: &DeploymentSpec) -> bool {
    set.labels().get(workload::TEMPLATE_HASH) == Some(&hash_of(deployment, spec))
}

fn revision_of(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

async fn create_set(
    client: &Client,
    deployment: &Deployment,
    spec: &DeploymentSpec,
    old: &[ReplicaSet],
) -> Result<ReplicaSet, Fault> {
    let hash = hash_of(deployment, spec);
    let with_hash = |labels: Option<BTreeMap<String, String>>| {
        let mut labels = labels.unwrap_or_default();
        labels.insert(workload::TEMPLATE_HASH.into(), hash.clone());
        labels
    };
    let mut template = spec.template.clone();
    let mut meta = template.metadata.take().unwrap_or_default();
    meta.labels = Some(with_hash(meta.labels));
    let labels = meta.labels.clone();
    template.metadata = Some(meta);
    let selector = LabelSelector {
        match_labels: Some(with_hash(spec.selector.match_labels.clone())),
        match_expressions: spec.selector.match_expressions.clone(),
    };
    // Without older pods there is nothing to roll from: all at once, which saves a round.
    let replicas = if old.is_empty() { spec.replicas.unwrap_or(1) } else { 0 };
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels,
            annotations: Some(annotations(deployment, old)),
            owner_references: Some(ownership::controlled_by(deployment)),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            selector,
            template: Some(template),
            min_ready_seconds: spec.min_ready_seconds,
        }),
        status: None,
    };
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
    let made = match sets.create(&PostParams::default(), &set).await {
        // The name is another's: the next round hashes with a higher count.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let count = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
            let deployments: Api<Deployment> =
                Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
            let patch = Patch::Merge(json!({"status": {"collisionCount": count + 1}}));
            deployments.patch_status(&deployment.name_any(), &PatchParams::default(), &patch).await?;
            return Err(kube::Error::Api(status).into());
        }
        made => made?,
    };
    scaled_event(client, deployment, "up", &made.name_any(), replicas).await;
    Ok(made)
}

fn annotations(deployment: &Deployment, old: &[ReplicaSet]) -> BTreeMap<String, String> {
    let mut annotations = own_annotations(deployment);
    annotations.insert(REVISION.into(), (newest_revision(old) + 1).to_string());
    annotations.insert("deployment.kubernetes.io/desired-replicas".into(), wanted(deployment).to_string());
    annotations
}

/// What a Deployment's newest set has of its annotations: `kubernetes.io/change-cause` for `rollout history`, and others.
fn own_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let mut annotations = deployment.annotations().clone();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/"));
    annotations
}

fn newest_revision(sets: &[ReplicaSet]) -> i64 {
    sets.iter().map(revision_of).max().unwrap_or(0)
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// A set that becomes current again (`rollout undo`) gets the highest number; the Deployment shows that number. The set
/// takes over the Deployment's annotations.
async fn renumber(
    client: &Client,
    deployment: &Deployment,
    set: ReplicaSet,
    others: &[ReplicaSet],
) -> Result<ReplicaSet, Fault> {
    let namespace = deployment.namespace().unwrap_or_default();
    let highest = newest_revision(others);
    let mut set = set;
    let mut missing = own_annotations(deployment);
    missing.retain(|key, value| set.annotations().get(key) != Some(value));
    if revision_of(&set) <= highest {
        missing.insert(REVISION.into(), (highest + 1).to_string());
    }
    if !missing.is_empty() {
        let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &namespace);
        let patch = json!({"metadata": {"annotations": missing}});
        set = sets.patch(&set.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    let number = revision_of(&set).to_string();
    if deployment.annotations().get(REVISION) != Some(&number) {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        let patch = json!({"metadata": {"annotations": {REVISION: number}}});
        let patched =
            deployments.patch(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        super::gone_is_fine(patched)?;
    }
    Ok(set)
}

fn as_set(set: &ReplicaSet) -> Set {
    let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    Set {
        name: set.name_any(),
        wanted: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
        available,
    }
}

async fn steps(
    client: &Client,
    spec: &DeploymentSpec,
    newest: &ReplicaSet,
    old: &[ReplicaSet],
) -> Result<Vec<(String, i32)>, Fault> {
    let replicas = spec.replicas.unwrap_or(1);
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let (surge, unavailable) = bounds(
        replicas,
        rolling.and_then(|rolling| rolling.max_surge.as_ref()),
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
    );
    let rollout =
        Rollout { replicas, surge, unavailable, new: as_set(newest), old: old.iter().map(as_set).collect() };
    let recreate = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
    if !recreate {
        return Ok(next_scales(&rollout));
    }
    let mut old_pods = 0;
    for set in old {
        let selector = set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
        old_pods += ownership::pods_of(client, set, &selector).await?.len();
    }
    Ok(next_recreate(&rollout, old_pods))
}

async fn scale(client: &Client, deployment: &Deployment, name: &str, wanted: i32) -> Result<(), Fault> {
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
    let before = sets.get_opt(name).await?.map(|set| as_set(&set).wanted).unwrap_or(0);
    if before == wanted {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"spec": {"replicas": wanted}}));
    super::gone_is_fine(sets.patch(name, &PatchParams::default(), &patch).await)?;
    scaled_event(client, deployment, if wanted > before { "up" } else { "down" }, name, wanted).await;
    Ok(())
}

async fn scaled_event(client: &Client, deployment: &Deployment, way: &str, set: &str, wanted: i32) {
    let text = format!("Scaled {way} replica set {set} to {wanted}");
    super::event(client, deployment, "Normal", "ScalingReplicaSet", &text).await;
}

/// Removes the oldest empty sets beyond the history limit, once the rollout is over.
async fn prune(
    client: &Client,
    deployment: &Deployment,
    spec: &DeploymentSpec,
    newest: &ReplicaSet,
    old: &[ReplicaSet],
) -> Result<(), Fault> {
    if as_set(newest).available < spec.replicas.unwrap_or(1) {
        return Ok(());
    }
    let keep = spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(HISTORY);
    let is_empty = |set: &&ReplicaSet| {
        as_set(set).wanted == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0)
    };
    let empty: Vec<&ReplicaSet> = old.iter().filter(is_empty).collect();
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
    for set in empty.iter().take(empty.len().saturating_sub(keep)) {
        match sets.delete(&set.name_any(), &DeleteParams::background()).await {
            Err(error) if !super::is_gone(&error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn report(
    client: &Client,
    deployment: &Deployment,
    newest: Option<&ReplicaSet>,
    old: &[ReplicaSet],
) -> Result<Action, Fault> {
    let now = Timestamp::now();
    let status = status(deployment, newest, old, now);
    super::status::write(client, deployment, deployment.status.as_ref(), &status).await?;
    Ok(next_look(deployment, &status, now).map_or_else(Action::await_change, Action::requeue))
}
