//! ReplicaSet: as many pods as asked for.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};

use super::{Context, Fault, ownership, workload};

/// What to do about the number of pods.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Make this many.
    Create(usize),
    /// Give up this many.
    Delete(usize),
}

/// Decides from the wanted and the active number. At most 100 pods are made in one step.
pub fn decide(wanted: i32, active: usize) -> Step {
    let wanted = usize::try_from(wanted).unwrap_or(0);
    match wanted.cmp(&active) {
        std::cmp::Ordering::Equal => Step::Keep,
        std::cmp::Ordering::Greater => Step::Create((wanted - active).min(100)),
        std::cmp::Ordering::Less => Step::Delete(active - wanted),
    }
}

/// Brings one ReplicaSet's pods to what it asks for, and its status to what there is.
pub async fn reconcile(set: Arc<ReplicaSet>, context: Arc<Context>) -> Result<Action, Fault> {
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    let client = &context.client;
    let pods = ownership::pods_of(client, set.as_ref(), &spec.selector).await?;
    let mut active: Vec<Pod> = pods.into_iter().filter(workload::is_active).collect();
    let failed = match decide(spec.replicas.unwrap_or(1), active.len()) {
        Step::Keep => None,
        Step::Create(count) => {
            let template = spec.template.clone().unwrap_or_default();
            let name = || format!("{}-{}", set.name_any(), workload::random_suffix());
            let made = (0..count).map(|_| workload::pod_from(set.as_ref(), name(), &template)).collect();
            workload::create(client, set.as_ref(), made).await.err()
        }
        Step::Delete(count) => {
            workload::sort_for_deletion(&mut active);
            let names: Vec<String> = active.drain(..count).map(|pod| pod.name_any()).collect();
            workload::delete(client, set.as_ref(), &names).await?;
            None
        }
    };
    report(&context.client, &set, &active).await?;
    failed.map_or(Ok(Action::await_change()), Err)
}

async fn report(client: &Client, set: &ReplicaSet, active: &[Pod]) -> Result<(), Fault> {
    let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let ready = count(active.iter().filter(|pod| workload::is_ready(pod)).count());
    let status = ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: Some(count(active.len())),
        ready_replicas: Some(ready),
        available_replicas: Some(ready),
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    };
    super::status::write(client, set, set.status.as_ref(), &status).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        assert_eq!(decide(3, 3), Step::Keep);
        assert_eq!(decide(3, 1), Step::Create(2));
        assert_eq!(decide(0, 2), Step::Delete(2));
        assert_eq!(decide(-1, 0), Step::Keep);
        assert_eq!(decide(5000, 0), Step::Create(100));
    }
}
