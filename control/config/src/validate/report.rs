//! Collects findings.

use crate::diagnostic::{Diagnostic, SCHEMA};
use crate::path::Path;
use crate::{Duration, Severity};

/// The findings so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub found: Vec<Diagnostic>,
}

impl Report {
    pub fn error(&mut self, path: &Path, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Error, SCHEMA, path, message.into(), cure.into());
    }

    pub fn warning(&mut self, path: &Path, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Warning, SCHEMA, path, message.into(), cure.into());
    }

    pub fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: &Path,
        message: String,
        cure: String,
    ) {
        let cure = Some(cure).filter(|cure| !cure.is_empty());
        self.found.push(Diagnostic { severity, code, path: path.clone(), message, cure });
    }

    /// The result of a check of a text, at the place of the text.
    pub fn name(&mut self, path: &Path, checked: Result<(), String>) {
        if let Err(message) = checked {
            self.error(path, message, "");
        }
    }

    /// Required texts.
    pub fn required(&mut self, path: &Path, text: &str, what: &str) -> bool {
        if text.is_empty() {
            self.error(path, format!("{what} is missing"), "");
        }
        !text.is_empty()
    }

    /// 1 to 65535.
    pub fn port(&mut self, path: &Path, number: u32) {
        if !(1..=65535).contains(&number) {
            self.error(path, format!("{number} is no port"), "write 1 to 65535");
        }
    }

    /// At least a millisecond, and whole ones.
    pub fn duration(&mut self, path: &Path, duration: Option<Duration>) {
        let Some(duration) = duration else { return };
        if duration < Duration::from_millis(1) {
            self.error(
                path,
                format!("{duration} is shorter than 1ms"),
                "write 1ms or more, or leave the field out",
            );
        } else if duration.nanos() % 1_000_000 != 0 {
            self.error(path, format!("{duration} is finer than a millisecond"), "write whole milliseconds");
        }
    }

    /// Not negative.
    pub fn span(&mut self, path: &Path, duration: Option<Duration>) {
        if let Some(duration) = duration.filter(|duration| *duration < Duration::ZERO) {
            self.error(path, format!("{duration} is negative"), "write 0s or more");
        }
    }

    /// 0 to 100.
    pub fn percent(&mut self, path: &Path, percent: f64) {
        if !(0.0..=100.0).contains(&percent) {
            self.error(path, format!("{percent} is no percentage"), "write 0 to 100");
        }
    }

    pub fn not_negative(&mut self, path: &Path, number: i32) {
        if number < 0 {
            self.error(path, format!("{number} is negative"), "write 0 or more");
        }
    }

    /// A regular expression in the syntax of RE2.
    pub fn regex(&mut self, path: &Path, pattern: &str) {
        if pattern.is_empty() {
            self.error(path, "the regular expression is empty", "write .* to match everything");
        } else if pattern.len() > 4096 {
            self.error(
                path,
                "the regular expression is longer than 4096 bytes",
                "split it into several matches",
            );
        } else if let Err(error) = regex::Regex::new(pattern) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            self.error(path, format!("not a regular expression: {reason}"), "use RE2 syntax");
        }
    }
}
