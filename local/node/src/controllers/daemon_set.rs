//! DaemonSet: one pod a node, and there is one node.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Pod, Toleration};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::{Context, Fault, ownership, revisions, workload};

/// Brings one DaemonSet's pod to its template.
pub async fn reconcile(set: Arc<DaemonSet>, context: Arc<Context>) -> Result<Action, Fault> {
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    let client = &context.client;
    let hash = workload::template_hash(&spec.template, 0);
    revisions::record(client, set.as_ref(), (&spec.template, &hash), spec.revision_history_limit).await?;
    let pods = ownership::pods_of(client, set.as_ref(), &spec.selector).await?;
    let is_current = |pod: &Pod| pod.labels().get(revisions::HASH) == Some(&hash);
    let (living, ended): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| workload::is_active(pod));
    let on_delete =
        spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
    let failed = ended.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let old = living.iter().filter(|pod| !is_current(pod) && !on_delete);
    let surplus = living.iter().filter(|pod| is_current(pod)).skip(1);
    let leaving: Vec<String> = failed.chain(old).chain(surplus).map(|pod| pod.name_any()).collect();
    workload::delete(client, set.as_ref(), &leaving).await?;
    let mut failed = None;
    if pods.is_empty() {
        let mut template = spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(revisions::HASH.into(), hash.clone());
        if let Some(spec) = template.spec.as_mut() {
            // A cordoned node keeps its daemons.
            spec.tolerations.get_or_insert_default().push(Toleration {
                key: Some("node.kubernetes.io/unschedulable".into()),
                operator: Some("Exists".into()),
                effect: Some("NoSchedule".into()),
                ..Toleration::default()
            });
        }
        let name = format!("{}-{}", set.name_any(), workload::random_suffix());
        let made = vec![workload::pod_from(set.as_ref(), name, &template)];
        failed = workload::create(client, set.as_ref(), made).await.err();
    }
    report(&context, &set, &living, living.iter().filter(|pod| is_current(pod)).count()).await?;
    failed.map_or(Ok(Action::await_change()), Err)
}

async fn report(context: &Context, set: &DaemonSet, living: &[&Pod], current: usize) -> Result<(), Fault> {
    let number = |count: usize| i32::try_from(count.min(1)).unwrap_or(1);
    let ready = number(living.iter().filter(|pod| workload::is_ready(pod)).count());
    let status = DaemonSetStatus {
        desired_number_scheduled: 1,
        current_number_scheduled: number(living.len()),
        number_ready: ready,
        number_available: Some(ready),
        number_unavailable: Some(1 - ready),
        updated_number_scheduled: Some(number(current)),
        number_misscheduled: 0,
        observed_generation: set.metadata.generation,
        ..DaemonSetStatus::default()
    };
    super::status::write(&context.client, set, set.status.as_ref(), &status).await
}
