//! The claims of a StatefulSet's pods: made from its templates, found again by their names, and kept unless told otherwise.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;

use super::super::{Fault, gone_is_fine, ownership, workload};

fn templates(spec: &StatefulSetSpec) -> &[PersistentVolumeClaim] {
    spec.volume_claim_templates.as_deref().unwrap_or_default()
}

fn name(template: &PersistentVolumeClaim, set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template.name_any(), set.name_any())
}

/// Gives a pod's spec its claims as volumes; one goes before a volume of the template that has its name.
pub fn mount(pod: &mut PodSpec, set: &StatefulSet, spec: &StatefulSetSpec, ordinal: i32) {
    for template in templates(spec) {
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: name(template, set, ordinal),
            ..PersistentVolumeClaimVolumeSource::default()
        };
        let volumes = pod.volumes.get_or_insert_default();
        volumes.retain(|volume| volume.name != template.name_any());
        volumes.push(Volume {
            name: template.name_any(),
            persistent_volume_claim: Some(source),
            ..Volume::default()
        });
    }
}

/// Makes the claims that pods with these ordinals lack, and keeps their owners as the retention policy says.
pub async fn ensure(
    client: &Client,
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinals: impl Iterator<Item = i32>,
) -> Result<(), Fault> {
    if templates(spec).is_empty() {
        return Ok(());
    }
    let api = api(client, set);
    let existing = api.list(&ListParams::default()).await?.items;
    for ordinal in ordinals {
        for template in templates(spec) {
            let name = name(template, set, ordinal);
            match existing.iter().find(|claim| claim.name_any() == name) {
                Some(claim) => own(&api, claim, owners(set, spec, claim)).await?,
                None => {
                    let claim = made(set, spec, template, name.clone());
                    if let Err(error) = api.create(&PostParams::default(), &claim).await {
                        let pod = format!("{}-{ordinal}", set.name_any());
                        let what = format!(
                            "create Claim {name} for Pod {pod} in StatefulSet {} failed error",
                            set.name_any()
                        );
                        return Err(workload::not_created(client, set, &what, &error).await);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Where claims are not to outlive their pods when the set shrinks, they go with the pod.
pub async fn leave_to(
    client: &Client,
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    (pod, ordinal): (&Pod, i32),
) -> Result<(), Fault> {
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    if policy.and_then(|policy| policy.when_scaled.as_deref()) != Some("Delete") {
        return Ok(());
    }
    let api = api(client, set);
    for template in templates(spec) {
        if let Some(claim) = api.get_opt(&name(template, set, ordinal)).await? {
            let mut references = owners(set, spec, &claim);
            references.extend(pod.owner_ref(&()));
            own(&api, &claim, references).await?;
        }
    }
    Ok(())
}

fn api(client: &Client, set: &StatefulSet) -> Api<PersistentVolumeClaim> {
    Api::namespaced(client.clone(), &set.namespace().unwrap_or_default())
}

/// Who a claim of a living pod belongs to: the set if it is to go with the set, and never the pod.
fn owners(set: &StatefulSet, spec: &StatefulSetSpec, claim: &PersistentVolumeClaim) -> Vec<OwnerReference> {
    let uid = set.uid().unwrap_or_default();
    let is_ours = |reference: &&OwnerReference| reference.kind == "Pod" || reference.uid == uid;
    let others = claim.owner_references().iter().filter(|reference| !is_ours(reference)).cloned();
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    let with_set = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
    let set = if with_set { ownership::controlled_by(set) } else { Vec::new() };
    others.chain(set).collect()
}

async fn own(
    api: &Api<PersistentVolumeClaim>,
    claim: &PersistentVolumeClaim,
    owners: Vec<OwnerReference>,
) -> Result<(), Fault> {
    if claim.owner_references() == owners {
        return Ok(());
    }
    let version = claim.resource_version();
    let patch = json!({"metadata": {"resourceVersion": version, "ownerReferences": owners}});
    gone_is_fine(api.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)
}

fn made(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    template: &PersistentVolumeClaim,
    name: String,
) -> PersistentVolumeClaim {
    let mut labels = template.labels().clone();
    labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
    let mut claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: template.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    };
    claim.metadata.owner_references = Some(owners(set, spec, &claim)).filter(|owners| !owners.is_empty());
    claim
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(policy: serde_json::Value) -> StatefulSet {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n", "uid": "u"}, "spec": {
            "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": {},
            "persistentVolumeClaimRetentionPolicy": policy,
            "volumeClaimTemplates": [{"metadata": {"name": "www", "labels": {"own": "yes"}}, "spec": {}}]}}))
        .unwrap()
    }

    #[test]
    fn claims_are_named_labelled_and_mounted() {
        let set = set(json!({"whenDeleted": "Retain"}));
        let spec = set.spec.as_ref().unwrap();
        let template = &templates(spec)[0];
        let claim = made(&set, spec, template, name(template, &set, 2));
        assert_eq!(claim.name_any(), "www-web-2");
        assert_eq!((claim.labels()["own"].as_str(), claim.labels()["app"].as_str()), ("yes", "web"));
        assert!(claim.owner_references().is_empty());
        let mut pod: PodSpec =
            serde_json::from_value(json!({"containers": [], "volumes": [{"name": "www", "emptyDir": {}}]}))
                .unwrap();
        mount(&mut pod, &set, spec, 2);
        let volumes = serde_json::to_value(pod.volumes).unwrap();
        assert_eq!(volumes, json!([{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-2"}}]));
    }

    #[test]
    fn a_claim_goes_with_the_set_only_when_told_to() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "p"});
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"});
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"ownerReferences": [pod, other]}})).unwrap();
        let uids = |policy| -> Vec<String> {
            let set = set(policy);
            owners(&set, set.spec.as_ref().unwrap(), &claim).into_iter().map(|owner| owner.uid).collect()
        };
        assert_eq!(uids(json!({"whenDeleted": "Retain"})), ["c"]);
        assert_eq!(uids(json!({"whenDeleted": "Delete"})), ["c", "u"]);
    }
}
