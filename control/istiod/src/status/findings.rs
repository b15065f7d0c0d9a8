//! What there is to say about objects.

use meltemi_config::{AnyObject, Diagnostic, Kind, unsupported};
use meltemi_mesh::{Snapshot, host, status};

use crate::objects::Key;
use crate::sources::Problem;

/// One thing to say about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Istio's code.
    pub code: &'static str,
    /// A word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Traffic is affected, or the object is not in force.
    pub error: bool,
}

/// The findings about an object that could not be read, or only in part.
pub fn of_problem(problem: &Problem) -> Vec<Finding> {
    let consequence =
        if problem.refused { "the object is not in force as it stands" } else { "the field is left out" };
    problem
        .errors
        .iter()
        .map(|error| Finding {
            code: meltemi_config::diagnostic::SCHEMA,
            reason: if problem.refused { "SchemaValidationError" } else { "UnknownField" },
            message: format!("{error}; {consequence}"),
            error: problem.refused,
        })
        .collect()
}

/// Objects that do nothing, and rules for hosts that nobody has. Only objects with findings are listed.
pub fn of_objects(objects: &[AnyObject], snapshot: &Snapshot) -> Vec<(Key, Vec<Finding>)> {
    let found = |object: &AnyObject| {
        let mut findings: Vec<Finding> =
            unsupported::object(object).iter().map(|gap| without_effect(object, gap)).collect();
        if let AnyObject::DestinationRule(rule) = object {
            findings.extend(missing_host(&rule.meta.namespace, &rule.spec.host, snapshot));
        }
        let key = (object.kind(), object.namespace().to_owned(), object.name().to_owned());
        (!findings.is_empty()).then_some((key, findings))
    };
    objects.iter().filter_map(found).collect()
}

/// A field that does nothing is worth a word; an object that does nothing is not in force.
fn without_effect(object: &AnyObject, gap: &Diagnostic) -> Finding {
    Finding {
        code: gap.code,
        reason: "NotSupported",
        message: gap.to_string(),
        error: unsupported::kind(object.kind()).is_some(),
    }
}

fn missing_host(namespace: &str, host: &str, snapshot: &Snapshot) -> Option<Finding> {
    let name = host::resolve(host, namespace, &snapshot.settings.domain);
    let known = match host::is_wildcard(&name) {
        true => snapshot.services_by_host.iter().any(|(service, _)| host::covered_by(service, &name)),
        false => !snapshot.services_named(&name).is_empty(),
    };
    (!known).then(|| Finding {
        code: "IST0101",
        reason: "HostNotFound",
        message: format!("no service has the host {name}; the rule applies to nothing. Create the Service or ServiceEntry, or correct the host"),
        error: true,
    })
}

/// References of routes that lead nowhere. Only objects with findings are listed.
pub fn of_snapshot(snapshot: &Snapshot) -> Vec<(Key, Vec<Finding>)> {
    let mut all = Vec::new();
    for service in snapshot.virtual_services.iter() {
        let missing = status::of_virtual_service(snapshot, service);
        if missing.is_empty() {
            continue;
        }
        let findings = missing.iter().map(|missing| Finding {
            code: "IST0101",
            reason: missing.reason(),
            message: missing.to_string(),
            error: true,
        });
        let meta = &service.object.meta;
        let key = (Kind::VirtualService, meta.namespace.clone(), meta.name.clone());
        all.push((key, findings.collect()));
    }
    all
}
