//! What analyzers read, and where they put what they find.

use meltemi_config::path::Path;
use meltemi_config::{AnyObject, Diagnostic, Severity};
use meltemi_mesh::Snapshot;

use crate::Finding;

/// The input and the findings so far.
pub(crate) struct Context<'a> {
    /// All objects, in the order in which they were given.
    pub objects: &'a [AnyObject],
    /// The mesh that they make.
    pub snapshot: &'a Snapshot,
    findings: Vec<Finding>,
}

impl<'a> Context<'a> {
    pub fn new(objects: &'a [AnyObject], snapshot: &'a Snapshot) -> Self {
        Self { objects, snapshot, findings: Vec::new() }
    }

    /// A finding about the object at a position.
    pub fn add(&mut self, position: usize, diagnostic: Diagnostic) {
        let Some(object) = self.objects.get(position) else { return };
        self.findings.push(Finding {
            object: position,
            kind: object.kind(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            diagnostic,
        });
    }

    /// The findings by object; those that an analyzer made twice stand once.
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.object);
        self.findings.dedup();
        self.findings
    }
}

/// A finding in the making.
pub(crate) fn error(code: &'static str, path: Path, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(path, message).code(code)
}

pub(crate) fn warning(code: &'static str, path: Path, message: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(path, message).code(code)
}

pub(crate) fn info(code: &'static str, path: Path, message: impl Into<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Info, ..Diagnostic::warning(path, message).code(code) }
}

/// Namespaces of the cluster itself, and of the mesh.
pub(crate) fn is_system(namespace: &str) -> bool {
    meltemi_config::namespace::is_system(namespace) || matches!(namespace, "istio-system" | "istio-operator")
}
