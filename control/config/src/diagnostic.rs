//! What is wrong, where, and what to do about it.

use std::fmt;

use serde::Serialize;

use crate::path::Path;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// It works, but probably not as meant.
    Warning,
    /// It is refused, or traffic is affected.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "Info",
            Severity::Warning => "Warning",
            Severity::Error => "Error",
        })
    }
}

/// A finding about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code, such as `IST0106`.
    pub code: &'static str,
    /// Where in the object.
    pub path: Path,
    /// The cause, in one sentence without the path.
    pub message: String,
    /// What to do, if that can be said.
    pub cure: Option<String>,
}

/// Istio's code of every finding about a single object.
pub const SCHEMA: &str = "IST0106";
/// Istio's code for a field that will go away.
pub const DEPRECATED: &str = "IST0002";

impl Diagnostic {
    /// An error of validation.
    pub fn error(path: Path, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code: SCHEMA, path, message: message.into(), cure: None }
    }

    /// A warning of validation.
    pub fn warning(path: Path, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code: SCHEMA, path, message: message.into(), cure: None }
    }

    /// Says what to do.
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Replaces the code.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.path, &self.message, self.cure.as_deref())
    }
}

/// A field that does not fit its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// Where in the object.
    pub path: Path,
    /// What is wrong.
    pub message: String,
    /// What to do, if that can be said.
    pub hint: Option<String>,
}

impl FieldError {
    /// An error at a place.
    pub fn new(path: Path, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), hint: None }
    }

    /// Says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.path, &self.message, self.hint.as_deref())
    }
}

impl From<FieldError> for Diagnostic {
    fn from(error: FieldError) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code: SCHEMA,
            path: error.path,
            message: error.message,
            cure: error.hint,
        }
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, path: &Path, message: &str, cure: Option<&str>) -> fmt::Result {
    if !path.steps().is_empty() {
        write!(f, "{path}: ")?;
    }
    f.write_str(message)?;
    if let Some(cure) = cure {
        write!(f, "; {cure}")?;
    }
    Ok(())
}
