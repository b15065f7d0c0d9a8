//! Where each value of a document stands.

use std::collections::HashMap;
use std::sync::Arc;

use crate::path::{Path, Step};

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Place {
    /// The beginning of a text.
    pub const START: Place = Place { line: 1, column: 1, start: 0, end: 0 };
}

/// The places of a value and of the key before it; the same for list elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Place,
    /// The value.
    pub value: Place,
}

/// The places of one document, by JSON pointer.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    entries: Arc<HashMap<String, Entry>>,
    prefix: String,
}

impl Positions {
    pub(super) fn new(entries: HashMap<String, Entry>) -> Self {
        Self { entries: Arc::new(entries), prefix: String::new() }
    }

    /// The places below a pointer, as if it were the document.
    pub(super) fn below(&self, pointer: &str) -> Self {
        Self { entries: Arc::clone(&self.entries), prefix: format!("{}{pointer}", self.prefix) }
    }

    /// The place of a field, or of the nearest thing around it that stands in the text.
    pub fn of(&self, path: &Path) -> Entry {
        let mut path = path.clone();
        loop {
            if let Some(entry) = self.exact(&path.pointer()) {
                return entry;
            }
            if path.steps().is_empty() {
                return Entry { key: Place::START, value: Place::START };
            }
            path.pop();
        }
    }

    /// Whether the field stands in the text.
    pub fn holds(&self, path: &Path) -> bool {
        self.exact(&path.pointer()).is_some()
    }

    fn exact(&self, pointer: &str) -> Option<Entry> {
        if self.prefix.is_empty() {
            return self.entries.get(pointer).copied();
        }
        self.entries.get(&format!("{}{pointer}", self.prefix)).copied()
    }

    /// Whether the last step of a path is a list element, whose own place is its value.
    pub(crate) fn is_element(path: &Path) -> bool {
        matches!(path.steps().last(), Some(Step::Index(_)))
    }
}
