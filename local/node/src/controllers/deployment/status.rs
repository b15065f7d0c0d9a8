//! A Deployment's status: numbers, and whether it is available and gets on.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::super::rollout::bounds;
use super::wanted;

/// How long a rollout may stand still when nothing is said.
const DEADLINE: Duration = Duration::from_secs(600);

/// The status, as the sets and the one before have it.
pub(super) fn status(
    deployment: &Deployment,
    newest: Option<&ReplicaSet>,
    old: &[ReplicaSet],
    now: Timestamp,
) -> DeploymentStatus {
    let all = || old.iter().chain(newest);
    let sum = |field: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>| -> i32 {
        all().filter_map(|set| set.status.as_ref().and_then(field)).sum()
    };
    let replicas = sum(|status| Some(status.replicas));
    let (ready, available) = (sum(|status| status.ready_replicas), sum(|status| status.available_replicas));
    let updated = newest.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(replicas),
        updated_replicas: Some(updated),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        unavailable_replicas: Some((wanted(deployment).max(replicas) - available).max(0)),
        collision_count: before.collision_count,
        ..DeploymentStatus::default()
    };
    let unavailable = unavailable_bound(deployment);
    let enough = available >= wanted(deployment) - unavailable;
    let done = updated == wanted(deployment) && replicas == updated && available == updated;
    let moved = (before.replicas, before.updated_replicas, before.ready_replicas, before.available_replicas)
        != (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas)
        || before.observed_generation != status.observed_generation;
    let was_late = progressing(&before)
        .is_some_and(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    let late = !done && !moved && (was_late || still_for(&before, now) >= deadline(deployment));
    let mut progressing = condition(&before, "Progressing", !late, progress(done, late, newest), now);
    if moved {
        progressing.last_update_time = Some(Time(now));
    }
    status.conditions =
        Some(vec![condition(&before, "Available", enough, availability(enough), now), progressing]);
    status
}

/// When to look again, because a rollout that does not move by then has failed.
pub(super) fn next_look(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let condition = progressing(status)?;
    let moving = condition.reason.as_deref() == Some("ReplicaSetUpdated");
    moving.then(|| deadline(deployment).saturating_sub(still_for(status, now)) + Duration::from_secs(1))
}

fn deadline(deployment: &Deployment) -> Duration {
    let seconds = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DEADLINE, Duration::from_secs)
}

fn progressing(status: &DeploymentStatus) -> Option<&DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing")
}

/// How long a rollout that is not over has stood still.
fn still_for(status: &DeploymentStatus, now: Timestamp) -> Duration {
    let moving = progressing(status)
        .filter(|condition| condition.reason.as_deref() != Some("NewReplicaSetAvailable"))
        .and_then(|condition| condition.last_update_time.as_ref());
    moving.map_or(Duration::ZERO, |since| Duration::try_from(now.duration_since(since.0)).unwrap_or_default())
}

fn unavailable_bound(deployment: &Deployment) -> i32 {
    let rolling =
        deployment.spec.as_ref().and_then(|s| s.strategy.as_ref()).and_then(|s| s.rolling_update.as_ref());
    let bound = |field: fn(&k8s_openapi::api::apps::v1::RollingUpdateDeployment) -> Option<_>| {
        rolling.and_then(field)
    };
    bounds(
        wanted(deployment),
        bound(|r| r.max_surge.clone()).as_ref(),
        bound(|r| r.max_unavailable.clone()).as_ref(),
    )
    .1
}

fn availability(enough: bool) -> (&'static str, String) {
    if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.".into())
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.".into())
    }
}

fn progress(done: bool, late: bool, newest: Option<&ReplicaSet>) -> (&'static str, String) {
    let name = newest.map(kube::ResourceExt::name_any).unwrap_or_default();
    if done {
        ("NewReplicaSetAvailable", format!("ReplicaSet \"{name}\" has successfully progressed."))
    } else if late {
        ("ProgressDeadlineExceeded", format!("ReplicaSet \"{name}\" has timed out progressing."))
    } else {
        ("ReplicaSetUpdated", format!("ReplicaSet \"{name}\" is progressing."))
    }
}

/// A condition; its times move only when what it says changes, so that an unchanged status stays equal.
fn condition(
    before: &DeploymentStatus,
    kind: &str,
    holds: bool,
    (reason, message): (&str, String),
    now: Timestamp,
) -> DeploymentCondition {
    let status = if holds { "True" } else { "False" };
    let now = Some(Time(now));
    let old = before.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let same = old.filter(|old| {
        old.status == status
            && old.reason.as_deref() == Some(reason)
            && old.message.as_ref() == Some(&message)
    });
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: same.map_or_else(|| now.clone(), |old| old.last_update_time.clone()),
        last_transition_time: old
            .filter(|old| old.status == status)
            .map_or(now, |old| old.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn deployment(status: Option<DeploymentStatus>) -> Deployment {
        let value = json!({
            "metadata": {"name": "d", "generation": 1},
            "spec": {"replicas": 1, "progressDeadlineSeconds": 60, "selector": {}, "template": {}},
        });
        Deployment { status, ..serde_json::from_value(value).unwrap() }
    }

    fn set(ready: i32) -> ReplicaSet {
        let value = json!({
            "metadata": {"name": "d-1"},
            "status": {"replicas": 1, "readyReplicas": ready, "availableReplicas": ready},
        });
        serde_json::from_value(value).unwrap()
    }

    fn reason(status: &DeploymentStatus) -> (&str, &str) {
        let condition = progressing(status).unwrap();
        (condition.status.as_str(), condition.reason.as_deref().unwrap())
    }

    #[test]
    fn a_rollout_that_stands_still_fails_after_its_deadline_and_recovers() {
        let first = status(&deployment(None), Some(&set(0)), &[], at(0));
        assert_eq!(reason(&first), ("True", "ReplicaSetUpdated"));
        assert_eq!(next_look(&deployment(None), &first, at(0)), Some(Duration::from_secs(61)));
        let waits = status(&deployment(Some(first.clone())), Some(&set(0)), &[], at(59));
        assert_eq!(waits, first, "an unchanged status stays equal");
        let late = status(&deployment(Some(first)), Some(&set(0)), &[], at(61));
        assert_eq!(reason(&late), ("False", "ProgressDeadlineExceeded"));
        let still_late = status(&deployment(Some(late.clone())), Some(&set(0)), &[], at(62));
        assert_eq!(still_late, late, "only a step forward ends it");
        let done = status(&deployment(Some(late)), Some(&set(1)), &[], at(70));
        assert_eq!(reason(&done), ("True", "NewReplicaSetAvailable"));
        assert_eq!(next_look(&deployment(None), &done, at(70)), None);
    }
}
