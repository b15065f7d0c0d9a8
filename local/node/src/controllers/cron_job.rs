//! CronJob: makes Jobs when they are due, and removes old ones.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Client, Resource as _, ResourceExt as _};
use meltemi_apiserver::schedule::Schedule;

use super::{Context, Fault, ownership};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// `kubectl create job --from` writes it: such a Job does not count as one of the schedule's.
const BY_HAND: &str = "cronjob.kubernetes.io/instantiate";

/// What to do about a time that is due.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is due.
    Wait,
    /// Start a Job for this time.
    Start(Timestamp),
    /// The last Job still runs, and no other may beside it.
    Hold,
    /// Start a Job for this time and give up those that run.
    Replace(Timestamp),
}

/// Decides from the last time that was due and the one before that was served. Times that were missed count as one.
fn decide(
    spec: &CronJobSpec,
    due: Option<Timestamp>,
    served: Timestamp,
    now: Timestamp,
    running: usize,
) -> Step {
    let Some(due) = due.filter(|due| *due > served && spec.suspend != Some(true)) else { return Step::Wait };
    let late = now.as_second() - due.as_second();
    if spec.starting_deadline_seconds.is_some_and(|deadline| late > deadline) {
        return Step::Wait;
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if running > 0 => Step::Hold,
        Some("Replace") if running > 0 => Step::Replace(due),
        _ => Step::Start(due),
    }
}

/// Takes one CronJob one step further, and comes back when it is due again.
pub async fn reconcile(cron: Arc<CronJob>, context: Arc<Context>) -> Result<Action, Fault> {
    if cron.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let spec = &cron.spec;
    let client = &context.client;
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let text = format!("unparseable schedule: {error}");
            super::event(client, cron.as_ref(), "Warning", "UnparseableSchedule", &text).await;
            return Ok(Action::await_change());
        }
    };
    let jobs = jobs_of(client, &cron).await?;
    let mut running: Vec<Job> =
        jobs.iter().filter(|job| is_scheduled(job) && end(job).is_none()).cloned().collect();
    let mut status = cron.status.clone().unwrap_or_default();
    let created = cron.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let served = status.last_schedule_time.as_ref().map_or(created, |time| time.0);
    let now = Timestamp::now();
    match decide(spec, schedule.last(now), served, now, running.len()) {
        Step::Wait => {}
        Step::Hold => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            super::event(client, cron.as_ref(), "Normal", "JobAlreadyActive", text).await;
        }
        Step::Start(time) => {
            running.extend(start(client, &cron, spec, time).await?);
            status.last_schedule_time = Some(Time(time));
        }
        Step::Replace(time) => {
            for job in running.drain(..) {
                remove(client, &cron, &job).await?;
            }
            running.extend(start(client, &cron, spec, time).await?);
            status.last_schedule_time = Some(Time(time));
        }
    }
    tidy(client, &cron, spec, &jobs).await?;
    report(client, &cron, status, &running, &jobs).await?;
    let wait = schedule
        .next(now)
        .filter(|_| spec.suspend != Some(true))
        .map(|next| next.as_second() - now.as_second());
    Ok(wait.map_or_else(Action::await_change, |wait| {
        // A second more: schedules have whole seconds, and our clock the rest.
        Action::requeue(Duration::from_secs(wait.max(0).unsigned_abs() + 1))
    }))
}

async fn jobs_of(client: &Client, cron: &CronJob) -> Result<Vec<Job>, Fault> {
    let uid = cron.uid().unwrap_or_default();
    let list = jobs(client, cron).list(&ListParams::default()).await?;
    Ok(list.items.into_iter().filter(|job| ownership::is_controlled_by(&job.metadata, &uid)).collect())
}

fn jobs(client: &Client, cron: &CronJob) -> Api<Job> {
    Api::namespaced(client.clone(), &cron.namespace().unwrap_or_default())
}

fn is_scheduled(job: &Job) -> bool {
    !job.annotations().contains_key(BY_HAND)
}

/// Whether a Job has ended well, and when; `None` while it has not ended.
fn end(job: &Job) -> Option<(bool, Timestamp)> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let last = conditions
        .iter()
        .find(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed"))?;
    let time = last.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    Some((last.type_ == "Complete", time))
}

/// Makes the Job of one due time. Its name holds the time, so that none is made twice.
async fn start(
    client: &Client,
    cron: &CronJob,
    spec: &CronJobSpec,
    time: Timestamp,
) -> Result<Option<Job>, Fault> {
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = template.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.into(), time.to_string());
    let job = Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", cron.name_any(), time.as_second() / 60)),
            namespace: cron.namespace(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(ownership::controlled_by(cron)),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    };
    match jobs(client, cron).create(&PostParams::default(), &job).await {
        Ok(made) => {
            let text = format!("Created job {}", made.name_any());
            super::event(client, cron, "Normal", "SuccessfulCreate", &text).await;
            Ok(Some(made))
        }
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(None),
        Err(error) => {
            let text = format!("Error creating job: {error}");
            super::event(client, cron, "Warning", "FailedCreate", &text).await;
            Err(error.into())
        }
    }
}

async fn remove(client: &Client, cron: &CronJob, job: &Job) -> Result<(), Fault> {
    super::gone_is_fine(jobs(client, cron).delete(&job.name_any(), &DeleteParams::background()).await)?;
    let text = format!("Deleted job {}", job.name_any());
    super::event(client, cron, "Normal", "SuccessfulDelete", &text).await;
    Ok(())
}

/// Which Jobs are too old to keep: all but the newest `successful` and `failed` ones of those that have ended.
fn superfluous(jobs: &[Job], successful: usize, failed: usize) -> Vec<&Job> {
    let mut ended: Vec<(&Job, bool, Timestamp)> =
        jobs.iter().filter_map(|job| end(job).map(|(good, time)| (job, good, time))).collect();
    ended.sort_by_key(|(_, _, time)| Reverse(*time));
    let of = |wanted: bool, keep: usize| {
        ended.iter().filter(move |(_, good, _)| *good == wanted).skip(keep).map(|(job, _, _)| *job)
    };
    of(true, successful).chain(of(false, failed)).collect()
}

async fn tidy(client: &Client, cron: &CronJob, spec: &CronJobSpec, jobs: &[Job]) -> Result<(), Fault> {
    let limit =
        |limit: Option<i32>, default| limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(default);
    let (successful, failed) =
        (limit(spec.successful_jobs_history_limit, 3), limit(spec.failed_jobs_history_limit, 1));
    for job in superfluous(jobs, successful, failed) {
        remove(client, cron, job).await?;
    }
    Ok(())
}

async fn report(
    client: &Client,
    cron: &CronJob,
    mut status: CronJobStatus,
    running: &[Job],
    jobs: &[Job],
) -> Result<(), Fault> {
    let reference = |job: &Job| ObjectReference { resource_version: None, ..job.object_ref(&()) };
    status.active =
        Some(running.iter().map(reference).collect()).filter(|active: &Vec<_>| !active.is_empty());
    let good = jobs.iter().filter_map(end).filter(|(good, _)| *good).map(|(_, time)| time).max();
    let before = status.last_successful_time.as_ref().map(|time| time.0);
    status.last_successful_time = good.max(before).map(Time);
    super::status::write(client, cron, cron.status.as_ref(), &status).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn spec(policy: &str, deadline: Option<i64>) -> CronJobSpec {
        CronJobSpec {
            concurrency_policy: Some(policy.into()),
            starting_deadline_seconds: deadline,
            ..CronJobSpec::default()
        }
    }

    #[test]
    fn a_time_is_served_once() {
        let allow = spec("Allow", None);
        assert_eq!(decide(&allow, Some(at(10)), at(9), at(11), 0), Step::Start(at(10)));
        assert_eq!(decide(&allow, Some(at(10)), at(9), at(11), 2), Step::Start(at(10)));
        assert_eq!(decide(&allow, Some(at(10)), at(10), at(11), 0), Step::Wait);
        assert_eq!(decide(&allow, None, at(10), at(11), 0), Step::Wait);
        let suspended = CronJobSpec { suspend: Some(true), ..allow };
        assert_eq!(decide(&suspended, Some(at(10)), at(9), at(11), 0), Step::Wait);
    }

    #[test]
    fn policies_and_deadlines() {
        assert_eq!(decide(&spec("Forbid", None), Some(at(10)), at(9), at(11), 1), Step::Hold);
        assert_eq!(decide(&spec("Forbid", None), Some(at(10)), at(9), at(11), 0), Step::Start(at(10)));
        assert_eq!(decide(&spec("Replace", None), Some(at(10)), at(9), at(11), 1), Step::Replace(at(10)));
        assert_eq!(decide(&spec("Allow", Some(30)), Some(at(10)), at(9), at(11), 0), Step::Wait, "too late");
        assert_eq!(decide(&spec("Allow", Some(90)), Some(at(10)), at(9), at(11), 0), Step::Start(at(10)));
    }

    #[test]
    fn the_newest_ended_jobs_are_kept() {
        let job = |name: &str, kind: &str, minute: i64| -> Job {
            let conditions = if kind.is_empty() {
                json!([])
            } else {
                json!([{"type": kind, "status": "True", "lastTransitionTime": at(minute)}])
            };
            serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": conditions}}))
                .unwrap()
        };
        let jobs = [
            job("a", "Complete", 1),
            job("b", "Complete", 3),
            job("c", "Complete", 2),
            job("d", "Failed", 1),
            job("e", "Failed", 2),
            job("f", "", 0),
        ];
        let names: Vec<String> = superfluous(&jobs, 2, 1).into_iter().map(|job| job.name_any()).collect();
        assert_eq!(names, ["a", "d"]);
        assert_eq!(superfluous(&jobs, 0, 0).len(), 5, "what runs is never superfluous");
    }
}
