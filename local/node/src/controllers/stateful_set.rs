//! StatefulSet: pods with names of their own, one after the other, each with its claims.

mod claims;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};

use super::{Context, Fault, ownership, revisions, workload};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// A pod as the decision sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Made from the current template.
    pub current: bool,
    /// Ready.
    pub ready: bool,
    /// Being deleted.
    pub leaving: bool,
}

/// What to do next, by ordinal.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Make these.
    Create(Vec<i32>),
    /// Give up this one.
    Delete(i32),
}

/// Decides by Kubernetes' order: from 0 upwards, each when the one before is ready; downwards for what is too many or old.
pub fn decide(replicas: i32, parallel: bool, on_delete: bool, members: &BTreeMap<i32, Member>) -> Step {
    let missing: Vec<i32> = (0..replicas).filter(|ordinal| !members.contains_key(ordinal)).collect();
    if parallel && !missing.is_empty() {
        return Step::Create(missing);
    }
    for ordinal in 0..replicas {
        match members.get(&ordinal) {
            None => return Step::Create(vec![ordinal]),
            Some(member) if !parallel && (!member.ready || member.leaving) => {
                let stuck = !member.current && !member.leaving && !on_delete;
                return if stuck { Step::Delete(ordinal) } else { Step::Keep };
            }
            Some(_) => {}
        }
    }
    if members.values().any(|member| member.leaving) {
        return Step::Keep;
    }
    if let Some((ordinal, _)) = members.range(replicas..).next_back() {
        return Step::Delete(*ordinal);
    }
    let old = members.iter().rev().find(|(_, member)| !member.current);
    match old {
        Some((ordinal, _)) if !on_delete && members.values().all(|member| member.ready) => {
            Step::Delete(*ordinal)
        }
        _ => Step::Keep,
    }
}

/// Takes one StatefulSet one step further.
pub async fn reconcile(set: Arc<StatefulSet>, context: Arc<Context>) -> Result<Action, Fault> {
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    let client = &context.client;
    let hash = workload::template_hash(&spec.template, 0);
    revisions::record(client, set.as_ref(), (&spec.template, &hash), spec.revision_history_limit).await?;
    let pods = ownership::pods_of(client, set.as_ref(), &spec.selector).await?;
    let held = Held::of(&set, spec, &hash);
    let members: BTreeMap<i32, Member> =
        pods.iter().filter_map(|pod| member(&set, pod, (&hash, &held))).collect();
    let parallel = spec.pod_management_policy.as_deref() == Some("Parallel");
    let on_delete =
        spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
    let replicas = spec.replicas.unwrap_or(1);
    let step = decide(replicas, parallel, on_delete, &members);
    let made: &[i32] = if let Step::Create(ordinals) = &step { ordinals } else { &[] };
    let kept = members.range(..replicas).map(|(ordinal, _)| *ordinal);
    claims::ensure(client, &set, spec, kept.chain(made.iter().copied())).await?;
    let mut failed = None;
    match step {
        Step::Keep => {}
        Step::Create(ordinals) => {
            let below = ordinals.iter().any(|ordinal| *ordinal < held.partition);
            let old = if below && held.hash != hash {
                revisions::template(client, set.as_ref(), &held.hash).await?
            } else {
                None
            };
            let made = ordinals.into_iter().map(|ordinal| match &old {
                Some(old) if ordinal < held.partition => pod(&set, spec, (old, &held.hash), ordinal),
                _ => pod(&set, spec, (&spec.template, &hash), ordinal),
            });
            failed = workload::create(client, set.as_ref(), made.collect()).await.err();
        }
        Step::Delete(ordinal) => {
            let name = format!("{}-{ordinal}", set.name_any());
            if let Some(pod) = pods.iter().find(|pod| ordinal >= replicas && pod.name_any() == name) {
                claims::leave_to(client, &set, spec, (pod, ordinal)).await?;
            }
            workload::delete(client, set.as_ref(), &[name]).await?;
        }
    }
    report(client, &set, &pods, (&hash, &held)).await?;
    failed.map_or(Ok(Action::await_change()), Err)
}

/// What a partition holds back: pods below it keep the revision that was the last to be rolled out whole.
struct Held {
    partition: i32,
    hash: String,
}

impl Held {
    fn of(set: &StatefulSet, spec: &StatefulSetSpec, newest: &str) -> Self {
        let rolling = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        let current = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let hash = current.and_then(|name| name.strip_prefix(&format!("{}-", set.name_any())));
        Self { partition, hash: hash.unwrap_or(newest).to_owned() }
    }
}

fn member(set: &StatefulSet, pod: &Pod, (hash, held): (&str, &Held)) -> Option<(i32, Member)> {
    let ordinal = pod.name_any().strip_prefix(&format!("{}-", set.name_any()))?.parse().ok()?;
    let ended = matches!(workload::phase(pod), "Succeeded" | "Failed");
    let of = |hash: &str| pod.labels().get(revisions::HASH).is_some_and(|own| own == hash);
    let member = Member {
        current: (of(hash) || ordinal < held.partition && of(&held.hash)) && !ended,
        ready: workload::is_ready(pod),
        leaving: pod.metadata.deletion_timestamp.is_some(),
    };
    Some((ordinal, member))
}

fn pod(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    (template, hash): (&PodTemplateSpec, &str),
    ordinal: i32,
) -> Pod {
    let name = format!("{}-{ordinal}", set.name_any());
    let mut template = template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(revisions::HASH.into(), hash.into());
    labels.insert(POD_NAME.into(), name.clone());
    labels.insert("apps.kubernetes.io/pod-index".into(), ordinal.to_string());
    if let Some(pod_spec) = template.spec.as_mut() {
        pod_spec.hostname = Some(name.clone());
        pod_spec.subdomain = spec.service_name.clone().filter(|name| !name.is_empty());
        claims::mount(pod_spec, set, spec, ordinal);
    }
    let mut pod = workload::pod_from(set, name, &template);
    pod.metadata.generate_name = Some(format!("{}-", set.name_any()));
    pod
}

async fn report(
    client: &Client,
    set: &StatefulSet,
    pods: &[Pod],
    (hash, held): (&str, &Held),
) -> Result<(), Fault> {
    let active: Vec<&Pod> = pods.iter().filter(|pod| workload::is_active(pod)).collect();
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let ready = number(active.iter().filter(|pod| workload::is_ready(pod)).count());
    let at = |hash: &str| {
        number(
            active
                .iter()
                .filter(|pod| pod.labels().get(revisions::HASH).is_some_and(|own| own == hash))
                .count(),
        )
    };
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let whole = at(hash) == wanted && ready == wanted && number(active.len()) == wanted;
    let current = if whole { hash } else { &held.hash };
    let revision = |hash: &str| Some(format!("{}-{hash}", set.name_any()));
    let status = StatefulSetStatus {
        replicas: number(active.len()),
        ready_replicas: Some(ready),
        available_replicas: Some(ready),
        current_replicas: Some(at(current)),
        updated_replicas: Some(at(hash)),
        current_revision: revision(current),
        update_revision: revision(hash),
        observed_generation: set.metadata.generation,
        ..StatefulSetStatus::default()
    };
    super::status::write(client, set, set.status.as_ref(), &status).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> BTreeMap<i32, Member> {
        // r ready, w waiting, o old and ready, l leaving, - absent
        let member = |c| match c {
            'r' => Some(Member { current: true, ready: true, leaving: false }),
            'w' => Some(Member { current: true, ready: false, leaving: false }),
            'o' => Some(Member { current: false, ready: true, leaving: false }),
            'l' => Some(Member { current: true, ready: true, leaving: true }),
            _ => None,
        };
        (0..).zip(text.chars()).filter_map(|(ordinal, c)| Some((ordinal, member(c)?))).collect()
    }

    #[test]
    fn one_after_the_other() {
        assert_eq!(decide(3, false, false, &members("")), Step::Create(vec![0]));
        assert_eq!(decide(3, false, false, &members("w")), Step::Keep);
        assert_eq!(decide(3, false, false, &members("r")), Step::Create(vec![1]));
        assert_eq!(decide(3, false, false, &members("r-r")), Step::Create(vec![1]));
        assert_eq!(decide(3, true, false, &members("w")), Step::Create(vec![1, 2]));
        assert_eq!(decide(3, false, false, &members("rrr")), Step::Keep);
    }

    #[test]
    fn downwards_from_the_last() {
        assert_eq!(decide(1, false, false, &members("rrr")), Step::Delete(2));
        assert_eq!(decide(1, false, false, &members("rrl")), Step::Keep);
        assert_eq!(decide(3, false, false, &members("oor")), Step::Delete(1));
        assert_eq!(decide(3, false, false, &members("oow")), Step::Keep);
        assert_eq!(decide(3, false, true, &members("ooo")), Step::Keep);
    }
}
