//! The error of an apply that would change what others own.

use super::managed::{Entry, Operation};
use super::path::{Set, shown};
use crate::error::ApiError;
use serde_json::{Value, json};

/// 409, with every field and its owner.
pub fn error(conflicts: &[(Entry, Set)]) -> ApiError {
    let count: usize = conflicts.iter().map(|(_, set)| set.len()).sum();
    let parts: Vec<String> = conflicts.iter().map(|(entry, set)| part(entry, set)).collect();
    let message = format!("Apply failed with {count} conflict{}: {}", plural(count), parts.join("\n"));
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(entry, set)| {
            let text = format!("conflict with {}", owner(entry));
            set.iter()
                .map(move |p| json!({"reason": "FieldManagerConflict", "message": text, "field": shown(p)}))
        })
        .collect();
    ApiError::apply_conflict(message, causes)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn part(entry: &Entry, set: &Set) -> String {
    let fields: Vec<String> = set.iter().map(|p| shown(p)).collect();
    let owner = owner(entry);
    match fields.as_slice() {
        [one] => format!("conflict with {owner}: {one}"),
        all => format!("conflicts with {owner}:\n- {}", all.join("\n- ")),
    }
}

fn owner(entry: &Entry) -> String {
    let mut out = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        out.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == Operation::Update {
        out.push_str(&format!(" using {}", entry.api_version));
    }
    out
}
