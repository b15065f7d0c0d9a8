//! YAML files as users write them: several documents, every value with its place, duplicate keys refused.
//!
//! Scalars mean what `kubectl` takes them for (YAML 1.1): `yes` and `on` are true, `010` is 8.

mod build;
mod emit;
mod lines;
mod positions;
mod scalar;
mod values;

use serde_json::Value;

pub use emit::write;
pub use positions::{Place, Positions};

use crate::diagnostic::Diagnostic;
use crate::path::Path;

/// Largest file that is read, in bytes. The API server takes 3 MiB a request.
pub const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 100;
/// Most values of one file, aliases counted as often as they are used.
pub const MAX_NODES: usize = 1_000_000;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The content as JSON.
    pub value: Value,
    /// Where each value stands in the text.
    pub positions: Positions,
}

/// A file with its text, so that findings can be shown in it.
#[derive(Clone, Debug)]
pub struct Documents {
    /// As the user named it; `-` for standard input.
    pub file: String,
    /// The whole text.
    pub text: String,
    /// All documents that are not empty; a `kind: List` stands as its items.
    pub documents: Vec<Document>,
}

/// Why a file is not YAML that Kubernetes takes, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct YamlError {
    /// As the user named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// Reads a file's text.
///
/// # Errors
/// The first place where the text is not YAML, a key stands twice, or a budget is exceeded.
pub fn read(file: &str, text: &str) -> Result<Documents, YamlError> {
    let error = |place: Place, message: String| YamlError {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        message,
    };
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(error(Place::START, message));
    }
    let documents = build::documents(text).map_err(|(place, message)| error(place, message))?;
    let documents =
        documents.into_iter().filter(|document| !document.value.is_null()).flat_map(items_of_list).collect();
    Ok(Documents { file: file.to_owned(), text: text.to_owned(), documents })
}

/// The items of a `kind: List`, or the document itself.
fn items_of_list(document: Document) -> Vec<Document> {
    let is_list = document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind == "List");
    let Some(items) = document.value.get("items").and_then(Value::as_array).filter(|_| is_list) else {
        return vec![document];
    };
    let path = Path::root().key("items");
    items
        .iter()
        .enumerate()
        .map(|(position, value)| Document {
            value: value.clone(),
            positions: document.positions.below(&path.index(position).pointer()),
        })
        .collect()
}

impl Documents {
    /// Where a finding about a document stands, from 1.
    pub fn place(&self, document: &Document, diagnostic: &Diagnostic) -> Place {
        document.positions.of(&diagnostic.path).key
    }
}

#[cfg(test)]
mod tests;
