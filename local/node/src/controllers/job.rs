//! Job: pods that run to their end, as often as asked for.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};

use super::{Context, Fault, ownership, workload};

mod verdict;
use verdict::{Verdict, verdict};

/// How the pods of a Job stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Pods that run or will.
    pub active: i32,
    /// Pods that ended well.
    pub succeeded: i32,
    /// Pods that ended badly, and restarts within pods.
    pub failed: i32,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for pods.
    Wait,
    /// Start this many more.
    Create(i32),
    /// All work is done.
    Complete,
    /// Too many failures.
    Fail,
    /// It has taken too long.
    Expire,
}

/// Decides from the spec's numbers and the count.
pub fn decide(completions: Option<i32>, parallelism: i32, backoff_limit: i32, count: Count) -> Step {
    if count.failed > backoff_limit {
        return Step::Fail;
    }
    let missing = match completions {
        Some(completions) => completions - count.succeeded,
        // Without completions, the first success ends the work.
        None if count.succeeded > 0 => count.active,
        None => parallelism,
    };
    if missing <= 0 && count.active == 0 {
        return Step::Complete;
    }
    let more = missing.min(parallelism) - count.active;
    if more > 0 { Step::Create(more) } else { Step::Wait }
}

/// Takes one Job one step further.
pub async fn reconcile(job: Arc<Job>, context: Arc<Context>) -> Result<Action, Fault> {
    let Some(spec) = job.spec.as_ref().filter(|_| job.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    if let Some(ended) = ended(&job) {
        return expire(&context.client, &job, spec, ended).await;
    }
    let client = &context.client;
    let selector = spec.selector.clone().unwrap_or_default();
    let pods = ownership::pods_of(client, job.as_ref(), &selector).await?;
    let count = count(&pods);
    let suspended = spec.suspend == Some(true);
    let left = time_left(&job, spec, Timestamp::now());
    let step =
        decide(spec.completions, spec.parallelism.unwrap_or(1), spec.backoff_limit.unwrap_or(6), count);
    let step = if left == Some(0) && step != Step::Complete { Step::Expire } else { step };
    let mut failed = None;
    let verdict = verdict(&job, &step);
    match step {
        _ if verdict.as_ref().is_some_and(|verdict| !verdict.complete) => {
            give_up(client, &job, &pods).await?
        }
        Step::Create(more) if !suspended => {
            let name = || format!("{}-{}", job.name_any(), workload::random_suffix());
            let made = (0..more).map(|_| workload::pod_from(job.as_ref(), name(), &spec.template)).collect();
            failed = workload::create(client, job.as_ref(), made).await.err();
        }
        _ => {}
    }
    report(client, &job, &pods, count, verdict).await?;
    if let Some(failed) = failed {
        return Err(failed);
    }
    let again = left.filter(|left| *left > 0 && !suspended);
    Ok(again.map_or_else(Action::await_change, |left| Action::requeue(Duration::from_secs(left))))
}

/// For how many seconds more a Job with a deadline may be active; 0 when that is over.
fn time_left(job: &Job, spec: &JobSpec, now: Timestamp) -> Option<u64> {
    let deadline = spec.active_deadline_seconds?;
    let start = job.status.as_ref()?.start_time.as_ref()?.0;
    Some(u64::try_from(deadline - (now.as_second() - start.as_second())).unwrap_or(0))
}

fn ended(job: &Job) -> Option<Timestamp> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let last = conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    last.last_transition_time.as_ref().map(|time| time.0)
}

/// Removes a finished Job when its time to live is over.
async fn expire(client: &Client, job: &Job, spec: &JobSpec, ended: Timestamp) -> Result<Action, Fault> {
    let Some(ttl) = spec.ttl_seconds_after_finished else { return Ok(Action::await_change()) };
    let age = Timestamp::now().as_second() - ended.as_second();
    let left = i64::from(ttl) - age;
    if left > 0 {
        return Ok(Action::requeue(Duration::from_secs(left.unsigned_abs())));
    }
    let jobs: Api<Job> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    super::gone_is_fine(jobs.delete(&job.name_any(), &DeleteParams::background()).await)?;
    Ok(Action::await_change())
}

fn count(pods: &[Pod]) -> Count {
    let number = |phase: &str| {
        i32::try_from(pods.iter().filter(|pod| workload::phase(pod) == phase).count()).unwrap_or(i32::MAX)
    };
    let active = pods.iter().filter(|pod| workload::is_active(pod)).count();
    let restarts: i32 = pods
        .iter()
        .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure"))
        .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
        .flatten()
        .map(|container| container.restart_count)
        .sum();
    Count {
        active: i32::try_from(active).unwrap_or(i32::MAX),
        succeeded: number("Succeeded"),
        failed: number("Failed") + restarts,
    }
}

async fn give_up(client: &Client, job: &Job, pods: &[Pod]) -> Result<(), Fault> {
    let names: Vec<String> =
        pods.iter().filter(|pod| workload::is_active(pod)).map(|pod| pod.name_any()).collect();
    workload::delete(client, job, &names).await
}

async fn report(
    client: &Client,
    job: &Job,
    pods: &[Pod],
    count: Count,
    verdict: Option<Verdict>,
) -> Result<(), Fault> {
    let before = job.status.clone().unwrap_or_default();
    let now = Some(Time(Timestamp::now()));
    let ready = pods.iter().filter(|pod| workload::is_active(pod) && workload::is_ready(pod)).count();
    let mut status = JobStatus {
        active: Some(count.active).filter(|active| *active > 0),
        succeeded: Some(count.succeeded).filter(|succeeded| *succeeded > 0),
        failed: Some(count.failed).filter(|failed| *failed > 0),
        ready: i32::try_from(ready).ok(),
        start_time: before.start_time.clone().or_else(|| now.clone()),
        ..before.clone()
    };
    if let Some(verdict) = verdict {
        let over = count.active == 0;
        status.completion_time = now.filter(|_| verdict.complete && over);
        status.conditions = Some(verdict.conditions(over, before.conditions.unwrap_or_default()));
        if over {
            verdict.tell(client, job).await;
        }
    }
    super::status::write(client, job, job.status.as_ref(), &status).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_have_deadlines() {
        let job = |deadline: Option<i64>| -> Job {
            serde_json::from_value(json!({"spec": {"activeDeadlineSeconds": deadline, "template": {}},
                "status": {"startTime": "2026-01-01T00:00:00Z"}}))
            .unwrap()
        };
        let left = |deadline, now: &str| {
            let job = job(deadline);
            time_left(&job, job.spec.as_ref().unwrap(), now.parse().unwrap())
        };
        assert_eq!(left(None, "2026-01-01T00:00:10Z"), None);
        assert_eq!(left(Some(30), "2026-01-01T00:00:10Z"), Some(20));
        assert_eq!(left(Some(30), "2026-01-01T00:01:00Z"), Some(0));
    }

    #[test]
    fn jobs_run_to_their_end() {
        let count = |active, succeeded, failed| Count { active, succeeded, failed };
        assert_eq!(decide(Some(1), 1, 6, count(0, 0, 0)), Step::Create(1));
        assert_eq!(decide(Some(1), 1, 6, count(1, 0, 0)), Step::Wait);
        assert_eq!(decide(Some(1), 1, 6, count(0, 1, 0)), Step::Complete);
        assert_eq!(decide(Some(5), 2, 6, count(1, 2, 0)), Step::Create(1));
        assert_eq!(decide(Some(5), 2, 6, count(0, 4, 1)), Step::Create(1));
        assert_eq!(decide(Some(1), 1, 0, count(0, 0, 1)), Step::Fail);
        assert_eq!(decide(None, 3, 6, count(0, 0, 0)), Step::Create(3));
        assert_eq!(decide(None, 3, 6, count(2, 1, 0)), Step::Wait);
        assert_eq!(decide(None, 3, 6, count(0, 1, 0)), Step::Complete);
    }
}
