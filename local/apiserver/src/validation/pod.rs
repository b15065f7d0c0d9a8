//! Pods and pod templates.

use super::names::{LABEL, is_label};
use crate::error::FieldError;
use crate::object::{int, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// A pod, and what an update of one may change.
pub fn pod(pod: &Value, old: Option<&Value>, out: &mut Vec<FieldError>) {
    spec("spec", &pod["spec"], out);
    if let Some(old) = old {
        immutable(pod, old, out);
    }
}

/// Only images, deadlines, tolerations and the node (once) may change.
fn immutable(new: &Value, old: &Value, out: &mut Vec<FieldError>) {
    let comparable = |pod: &Value, unbound: bool| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        let map = crate::object::as_map(&mut spec);
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "schedulingGates",
            "ephemeralContainers",
        ] {
            map.shift_remove(field);
        }
        if unbound {
            map.shift_remove("nodeName");
        }
        for field in ["containers", "initContainers"] {
            for container in crate::object::items_mut(map, field) {
                let container = crate::object::as_map(container);
                container.shift_remove("image");
                // The policy's default follows the image's tag.
                container.shift_remove("imagePullPolicy");
            }
        }
        spec
    };
    let unbound = text(old, "/spec/nodeName").is_empty();
    if comparable(new, unbound) != comparable(old, unbound) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        out.push(FieldError::forbidden("spec", detail));
    }
}

/// A pod spec at a path.
pub fn spec(at: &str, spec: &Value, out: &mut Vec<FieldError>) {
    let containers = list(spec, "/containers");
    if containers.is_empty() {
        out.push(FieldError::required(format!("{at}.containers"), ""));
    }
    let mut names = HashSet::new();
    let volumes = volumes(at, spec, out);
    for field in ["initContainers", "containers"] {
        for (i, container) in list(spec, &format!("/{field}")).iter().enumerate() {
            let at = format!("{at}.{field}[{i}]");
            let name = text(container, "/name");
            if !name.is_empty() && !names.insert(name) {
                out.push(FieldError::duplicate(format!("{at}.name"), &json!(name)));
            }
            self::container(&at, container, &volumes, out);
            let policy = text(container, "/restartPolicy");
            if field == "initContainers" && !policy.is_empty() && policy != "Always" {
                out.push(FieldError::not_supported(
                    format!("{at}.restartPolicy"),
                    &json!(policy),
                    &["Always"],
                ));
            }
        }
    }
    one_of(
        &format!("{at}.restartPolicy"),
        text(spec, "/restartPolicy"),
        &["Always", "OnFailure", "Never"],
        out,
    );
    one_of(
        &format!("{at}.dnsPolicy"),
        text(spec, "/dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        out,
    );
    if int(spec, "/terminationGracePeriodSeconds").is_some_and(|n| n < 0) {
        let field = format!("{at}.terminationGracePeriodSeconds");
        out.push(FieldError::invalid(
            field,
            &spec["terminationGracePeriodSeconds"],
            "must be greater than or equal to 0",
        ));
    }
}

fn one_of(at: &str, value: &str, allowed: &[&str], out: &mut Vec<FieldError>) {
    if !allowed.contains(&value) {
        out.push(FieldError::not_supported(at, &json!(value), allowed));
    }
}

fn volumes<'a>(at: &str, spec: &'a Value, out: &mut Vec<FieldError>) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (i, volume) in list(spec, "/volumes").iter().enumerate() {
        let at = format!("{at}.volumes[{i}]");
        let name = text(volume, "/name");
        if name.is_empty() {
            out.push(FieldError::required(format!("{at}.name"), ""));
        } else if !is_label(name) {
            out.push(FieldError::invalid(format!("{at}.name"), &json!(name), LABEL));
        } else if !names.insert(name) {
            out.push(FieldError::duplicate(format!("{at}.name"), &json!(name)));
        }
        let sources = volume.as_object().map_or(0, |m| m.keys().filter(|k| *k != "name").count());
        if sources > 1 {
            out.push(FieldError::forbidden(at, "may not specify more than 1 volume type"));
        }
    }
    names
}

fn container(at: &str, container: &Value, volumes: &HashSet<&str>, out: &mut Vec<FieldError>) {
    let name = text(container, "/name");
    if name.is_empty() {
        out.push(FieldError::required(format!("{at}.name"), ""));
    } else if !is_label(name) {
        out.push(FieldError::invalid(format!("{at}.name"), &json!(name), LABEL));
    }
    let image = text(container, "/image");
    if image.is_empty() {
        out.push(FieldError::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        out.push(FieldError::invalid(
            format!("{at}.image"),
            &json!(image),
            "must not have leading or trailing whitespace",
        ));
    }
    ports(at, container, out);
    for (i, env) in list(container, "/env").iter().enumerate() {
        if text(env, "/name").is_empty() {
            out.push(FieldError::required(format!("{at}.env[{i}].name"), ""));
        }
        if !text(env, "/value").is_empty() && env.get("valueFrom").is_some() {
            let detail = "may not be specified when `value` is not empty";
            out.push(FieldError::invalid(format!("{at}.env[{i}].valueFrom"), &json!(""), detail));
        }
    }
    let mut paths = HashSet::new();
    for (i, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let (volume, path) = (text(mount, "/name"), text(mount, "/mountPath"));
        if !volumes.contains(volume) {
            out.push(FieldError::not_found(format!("{at}.volumeMounts[{i}].name"), &json!(volume)));
        }
        if path.is_empty() {
            out.push(FieldError::required(format!("{at}.volumeMounts[{i}].mountPath"), ""));
        } else if !paths.insert(path) {
            out.push(FieldError::invalid(
                format!("{at}.volumeMounts[{i}].mountPath"),
                &json!(path),
                "must be unique",
            ));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = container.get(probe) {
            self::probe(&format!("{at}.{probe}"), value, out);
        }
    }
    quantities(at, container, out);
    one_of(
        &format!("{at}.imagePullPolicy"),
        text(container, "/imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        out,
    );
}

fn ports(at: &str, container: &Value, out: &mut Vec<FieldError>) {
    for (i, port) in list(container, "/ports").iter().enumerate() {
        let at = format!("{at}.ports[{i}]");
        match int(port, "/containerPort") {
            None => out.push(FieldError::required(format!("{at}.containerPort"), "")),
            Some(n) if !(1..=65535).contains(&n) => {
                out.push(FieldError::invalid(
                    format!("{at}.containerPort"),
                    &json!(n),
                    "must be between 1 and 65535, inclusive",
                ));
            }
            Some(_) => {}
        }
        let name = text(port, "/name");
        if name.len() > 15 {
            out.push(FieldError::invalid(
                format!("{at}.name"),
                &json!(name),
                "must be no more than 15 characters",
            ));
        }
        one_of(&format!("{at}.protocol"), text(port, "/protocol"), &["SCTP", "TCP", "UDP"], out);
    }
}

fn probe(at: &str, probe: &Value, out: &mut Vec<FieldError>) {
    let handlers =
        ["exec", "httpGet", "tcpSocket", "grpc"].iter().filter(|h| probe.get(**h).is_some()).count();
    if handlers == 0 {
        out.push(FieldError::required(at, "must specify a handler type"));
    }
    if handlers > 1 {
        out.push(FieldError::forbidden(at, "may not specify more than 1 handler type"));
    }
    for field in
        ["timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold", "initialDelaySeconds"]
    {
        if int(probe, &format!("/{field}")).is_some_and(|n| n < 0) {
            out.push(FieldError::invalid(
                format!("{at}.{field}"),
                &probe[field],
                "must be greater than or equal to 0",
            ));
        }
    }
}

fn quantities(at: &str, container: &Value, out: &mut Vec<FieldError>) {
    for kind in ["limits", "requests"] {
        let all = crate::object::map(container, &format!("/resources/{kind}"));
        for (name, value) in all.into_iter().flatten() {
            let good = match value {
                Value::Number(n) => n.as_f64().is_some_and(|n| n >= 0.0),
                Value::String(s) => is_quantity(s),
                _ => false,
            };
            if !good {
                let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                out.push(FieldError::invalid(format!("{at}.resources.{kind}[{name}]"), value, detail));
            }
        }
    }
}

/// Whether a string is a Kubernetes quantity that is not negative.
pub fn is_quantity(text: &str) -> bool {
    let digits = text.trim_start_matches('+');
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let exponent = || suffix.strip_prefix(['e', 'E']).is_some_and(|n| n.parse::<i32>().is_ok());
    number.parse::<f64>().is_ok()
        && (matches!(
            suffix,
            "" | "n"
                | "u"
                | "m"
                | "k"
                | "M"
                | "G"
                | "T"
                | "P"
                | "E"
                | "Ki"
                | "Mi"
                | "Gi"
                | "Ti"
                | "Pi"
                | "Ei"
        ) || exponent())
}
