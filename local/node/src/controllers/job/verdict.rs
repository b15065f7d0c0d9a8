//! How a Job ends, in two conditions: first that it is decided, then, when its pods have ended, that it is over.
//!
//! Kubernetes takes the second only together with the first (`SuccessCriteriaMet` before `Complete`, `FailureTarget` before
//! `Failed`) and only without active pods.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::Step;

const FAILING: &str = "FailureTarget";

/// What is decided of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it has done its work.
    pub complete: bool,
    reason: String,
    message: String,
}

/// What was decided earlier, or is with this step.
pub fn verdict(job: &Job, step: &Step) -> Option<Verdict> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if let Some(earlier) = conditions.iter().find(|c| c.type_ == FAILING && c.status == "True") {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        return Some(Verdict {
            complete: false,
            reason: text(&earlier.reason),
            message: text(&earlier.message),
        });
    }
    let (complete, reason, message) = match step {
        Step::Create(_) | Step::Wait => return None,
        Step::Complete => (true, "CompletionsReached", "Reached expected number of succeeded pods"),
        Step::Fail => (false, "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        Step::Expire => (false, "DeadlineExceeded", "Job was active longer than specified deadline"),
    };
    Some(Verdict { complete, reason: reason.into(), message: message.into() })
}

impl Verdict {
    /// The conditions, those that are there already unchanged.
    pub fn conditions(&self, over: bool, before: Vec<JobCondition>) -> Vec<JobCondition> {
        let [decided, ended] =
            if self.complete { ["SuccessCriteriaMet", "Complete"] } else { [FAILING, "Failed"] };
        let mut conditions = before;
        for kind in [decided].into_iter().chain(over.then_some(ended)) {
            if !conditions.iter().any(|c| c.type_ == kind) {
                conditions.push(self.condition(kind));
            }
        }
        conditions
    }

    fn condition(&self, kind: &str) -> JobCondition {
        let now = Some(Time(Timestamp::now()));
        JobCondition {
            type_: kind.into(),
            status: "True".into(),
            reason: Some(self.reason.clone()),
            message: Some(self.message.clone()),
            last_probe_time: now.clone(),
            last_transition_time: now,
        }
    }

    /// Makes the event of the end.
    pub async fn tell(&self, client: &Client, job: &Job) {
        let (severity, reason, text) = match self.complete {
            true => ("Normal", "Completed", "Job completed"),
            false => ("Warning", self.reason.as_str(), self.message.as_str()),
        };
        crate::controllers::event(client, job, severity, reason, text).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(conditions: &[JobCondition]) -> Vec<&str> {
        conditions.iter().map(|c| c.type_.as_str()).collect()
    }

    #[test]
    fn a_failure_is_decided_before_it_is_over() {
        let mut job = Job::default();
        assert_eq!(verdict(&job, &Step::Wait), None);
        let decided = verdict(&job, &Step::Expire).unwrap();
        let conditions = decided.conditions(false, Vec::new());
        assert_eq!(kinds(&conditions), ["FailureTarget"]);
        job.status.get_or_insert_default().conditions = Some(conditions.clone());
        assert_eq!(verdict(&job, &Step::Wait), Some(decided.clone()), "whatever its pods do then");
        assert_eq!(kinds(&decided.conditions(true, conditions)), ["FailureTarget", "Failed"]);
    }

    #[test]
    fn success_says_both_at_once() {
        let done = verdict(&Job::default(), &Step::Complete).unwrap();
        assert_eq!(kinds(&done.conditions(true, Vec::new())), ["SuccessCriteriaMet", "Complete"]);
    }
}
