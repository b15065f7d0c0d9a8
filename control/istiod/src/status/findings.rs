//! What there is to say about objects.

use meltemi_config::Kind;
use meltemi_mesh::{Snapshot, status};

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

/// References that lead nowhere. Only objects with findings are listed.
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
