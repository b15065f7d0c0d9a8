//! The kinds that make pods.

use super::{pod, storage};
use crate::error::FieldError;
use crate::object::{child, int, list, map, text};
use crate::registry::Resource;
use crate::schedule::Schedule;
use crate::selector::LabelSelector;
use serde_json::{Value, json};

/// Kinds of `apps` and `batch`, and replication controllers.
pub fn validate(resource: &Resource, value: &Value, out: &mut Vec<FieldError>) {
    if int(value, "/spec/replicas").is_some_and(|n| n < 0) {
        out.push(FieldError::invalid(
            "spec.replicas",
            &value["spec"]["replicas"],
            "must be greater than or equal to 0",
        ));
    }
    match resource.plural.as_str() {
        "deployments" | "replicasets" | "daemonsets" => {
            selector(value, out);
            template("spec.template", &value["spec"]["template"], &["Always"], out);
        }
        "statefulsets" => {
            selector(value, out);
            stateful_set(value, out);
        }
        "jobs" => template("spec.template", &value["spec"]["template"], &["OnFailure", "Never"], out),
        "cronjobs" => {
            schedule(value, out);
            let inner = value.pointer("/spec/jobTemplate/spec/template").cloned().unwrap_or_default();
            template("spec.jobTemplate.spec.template", &inner, &["OnFailure", "Never"], out);
        }
        "replicationcontrollers" => template("spec.template", &value["spec"]["template"], &["Always"], out),
        _ => {}
    }
}

fn selector(value: &Value, out: &mut Vec<FieldError>) {
    let Some(selector) = value.pointer("/spec/selector") else {
        out.push(FieldError::required("spec.selector", ""));
        return;
    };
    let parsed = LabelSelector::from_object(Some(selector));
    if parsed.0.is_empty() {
        out.push(FieldError::invalid(
            "spec.selector",
            &json!("object"),
            "empty selector is invalid for deployment",
        ));
        return;
    }
    let labels = map(value, "/spec/template/metadata/labels").cloned().unwrap_or_default();
    if !parsed.matches_labels(&labels) {
        let shown = Value::Object(labels);
        let mut error = FieldError::invalid("spec.template.metadata.labels", &shown, "");
        error.message = format!("Invalid value: {shown}: `selector` does not match template `labels`");
        out.push(error);
    }
}

fn template(at: &str, template: &Value, policies: &[&str], out: &mut Vec<FieldError>) {
    super::names::labels(&format!("{at}.labels"), map(template, "/metadata/labels"), out);
    pod::spec(&format!("{at}.spec"), &template["spec"], out);
    let policy = text(template, "/spec/restartPolicy");
    if !policies.contains(&policy) {
        let field = format!("{at}.spec.restartPolicy");
        let error = if policies == ["Always"] {
            FieldError::not_supported(field, &json!(policy), policies)
        } else {
            let mut error = FieldError::required(field, "");
            error.message = "Required value: valid values: \"OnFailure\", \"Never\"".into();
            error
        };
        out.push(error);
    }
}

/// Pods of a StatefulSet mount their claims by the names of the templates.
fn stateful_set(value: &Value, out: &mut Vec<FieldError>) {
    let mut completed = value["spec"]["template"].clone();
    for (i, claim) in list(value, "/spec/volumeClaimTemplates").iter().enumerate() {
        let name = text(claim, "/metadata/name");
        if name.is_empty() {
            out.push(FieldError::required(format!("spec.volumeClaimTemplates[{i}].metadata.name"), ""));
        }
        storage::claim(&format!("spec.volumeClaimTemplates[{i}].spec"), &claim["spec"], out);
        let volumes = child(&mut completed, "spec").entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            // It goes before one of the template's own of the same name.
            volumes.retain(|volume| text(volume, "/name") != name);
            volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        }
    }
    template("spec.template", &completed, &["Always"], out);
}

fn schedule(value: &Value, out: &mut Vec<FieldError>) {
    let (schedule, zone) = (text(value, "/spec/schedule"), text(value, "/spec/timeZone"));
    if schedule.is_empty() {
        out.push(FieldError::required("spec.schedule", ""));
    } else if let Err(detail) = Schedule::parse(schedule, None) {
        out.push(FieldError::invalid("spec.schedule", &json!(schedule), detail));
    } else if let Err(detail) = Schedule::parse(schedule, Some(zone)) {
        out.push(FieldError::invalid("spec.timeZone", &json!(zone), detail));
    }
    let policy = text(value, "/spec/concurrencyPolicy");
    if !matches!(policy, "" | "Allow" | "Forbid" | "Replace") {
        let known = ["Allow", "Forbid", "Replace"];
        out.push(FieldError::not_supported("spec.concurrencyPolicy", &json!(policy), &known));
    }
}
