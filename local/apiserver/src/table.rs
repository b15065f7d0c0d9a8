//! Tables: the columns that `kubectl get` shows.

mod batch;
mod core;
mod custom;
mod format;
mod other;
mod pod;
mod storage;
mod workload;

use crate::registry::Resource;
use serde_json::{Value, json};

pub use format::age;

/// A column: heading, whether it is shown only with `-o wide`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Type for the client: `string`, `integer`, …
    pub kind: String,
    /// 0 always, 1 only wide.
    pub priority: i64,
}

/// How much of the object a row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// `PartialObjectMetadata`.
    Metadata,
    /// All of it.
    Object,
}

/// Headings (a leading `+` marks a wide one) and the function that makes the cells after NAME.
struct Printer {
    columns: &'static [&'static str],
    cells: fn(&Value) -> Vec<Value>,
}

fn printer(resource: &Resource) -> Printer {
    let found = core::printer(&resource.group, &resource.plural)
        .or_else(|| workload::printer(&resource.group, &resource.plural))
        .or_else(|| batch::printer(&resource.group, &resource.plural));
    found.unwrap_or(Printer { columns: &["Name", "Created At"], cells: |o| vec![format::created(o)] })
}

/// The columns of a resource.
pub fn columns(resource: &Resource) -> Vec<Column> {
    if let Some(custom) = &resource.custom {
        return custom::columns(custom);
    }
    let column = |name: &&str| {
        let (name, priority) = name.strip_prefix('+').map_or((*name, 0), |n| (n, 1));
        let kind = if INTEGERS.contains(&name) { "integer" } else { "string" };
        Column { name: name.to_owned(), kind: kind.to_owned(), priority }
    };
    printer(resource).columns.iter().map(column).collect()
}

const INTEGERS: &[&str] = &[
    "Data",
    "Secrets",
    "Desired",
    "Current",
    "Up-to-date",
    "Available",
    "Webhooks",
    "Replicas",
    "MinPods",
    "MaxPods",
    "Value",
    "Revision",
    "Active",
];

/// One row.
pub fn row(resource: &Resource, object: &Value, include: Include) -> Value {
    let name = match resource.plural.as_str() {
        "storageclasses" if resource.custom.is_none() => json!(storage::class_name(object)),
        _ => json!(crate::object::name(object)),
    };
    let cells: Vec<Value> = match &resource.custom {
        Some(custom) => std::iter::once(name).chain(custom::cells(custom, object)).collect(),
        None => {
            let printer = printer(resource);
            // Events show their name last.
            let first = (printer.columns.first() == Some(&"Name")).then_some(name);
            first.into_iter().chain((printer.cells)(object)).collect()
        }
    };
    let mut row = json!({ "cells": cells });
    match include {
        Include::Nothing => {}
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

/// `PartialObjectMetadata`.
pub fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

/// A `Table`.
pub fn table(resource: &Resource, rows: Vec<Value>, meta: Value, with_columns: bool) -> Value {
    let definition = |c: Column| {
        let format = if c.name == "Name" { "name" } else { "" };
        json!({"name": c.name, "type": c.kind, "format": format, "description": "", "priority": c.priority})
    };
    let columns: Value =
        if with_columns { columns(resource).into_iter().map(definition).collect() } else { Value::Null };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": columns, "rows": rows})
}

#[cfg(test)]
mod tests;
