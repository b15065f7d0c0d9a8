//! Columns of `batch`.

use super::Printer;
use super::format::{NONE, UNKNOWN, age, containers, number, selector, since, span};
use crate::object::{int, list, text};
use serde_json::{Value, json};

/// The printer of a resource, if it is here.
pub fn printer(group: &str, plural: &str) -> Option<Printer> {
    Some(match (group, plural) {
        ("batch", "jobs") => Printer {
            columns: &[
                "Name",
                "Status",
                "Completions",
                "Duration",
                "Age",
                "+Containers",
                "+Images",
                "+Selector",
            ],
            cells: job,
        },
        ("batch", "cronjobs") => Printer {
            columns: &[
                "Name",
                "Schedule",
                "Timezone",
                "Suspend",
                "Active",
                "Last Schedule",
                "Age",
                "+Containers",
                "+Images",
                "+Selector",
            ],
            cells: cron_job,
        },
        _ => return None,
    })
}

fn job(job: &Value) -> Vec<Value> {
    let succeeded = number(job, "/status/succeeded");
    let completions = match (int(job, "/spec/completions"), int(job, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, Some(parallelism)) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let [names, images] = containers(job, "/spec/template/spec/containers");
    vec![
        json!(status(job)),
        json!(completions),
        json!(duration(job)),
        age(job),
        names,
        images,
        selector(job, "/spec/selector"),
    ]
}

fn status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        list(job, "/status/conditions")
            .iter()
            .any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if crate::object::is_terminating(job) => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn duration(job: &Value) -> String {
    let time = |p: &str| text(job, p).parse::<jiff::Timestamp>().ok();
    match (time("/status/startTime"), time("/status/completionTime")) {
        (None, _) => String::new(),
        (Some(start), Some(end)) => span(end.as_second() - start.as_second()),
        (Some(start), None) => span(jiff::Timestamp::now().as_second() - start.as_second()),
    }
}

fn cron_job(job: &Value) -> Vec<Value> {
    let last = match text(job, "/status/lastScheduleTime") {
        "" => NONE.to_owned(),
        time => since(time),
    };
    let zone = match text(job, "/spec/timeZone") {
        "" => NONE,
        zone => zone,
    };
    let suspend = match job.pointer("/spec/suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => UNKNOWN,
    };
    let [names, images] = containers(job, "/spec/jobTemplate/spec/template/spec/containers");
    let active = list(job, "/status/active").len();
    let selector = selector(job, "/spec/jobTemplate/spec/selector");
    vec![
        json!(text(job, "/spec/schedule")),
        json!(zone),
        json!(suspend),
        json!(active),
        json!(last),
        age(job),
        names,
        images,
        selector,
    ]
}
