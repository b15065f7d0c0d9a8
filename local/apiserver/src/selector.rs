//! Label and field selectors: parsing the query forms, and matching.

use crate::error::{ApiError, Result};
use crate::object::text;
use serde_json::{Map, Value};

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The key has one of these values.
    In(String, Vec<String>),
    /// The key is absent or has none of these values.
    NotIn(String, Vec<String>),
    /// The key is there.
    Exists(String),
    /// The key is not there.
    Absent(String),
    /// The key is an integer greater than this.
    Greater(String, i64),
    /// The key is an integer less than this.
    Less(String, i64),
}

/// All requirements must hold; none matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(pub Vec<Requirement>);

impl LabelSelector {
    /// Parses `app=web,tier in (a, b),!legacy`.
    pub fn parse(input: &str) -> Result<Self> {
        let bad = |what: &str| ApiError::bad_request(format!("unable to parse requirement: {what}"));
        let mut out = Vec::new();
        for part in split_outside_parens(input) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            out.push(requirement(part).ok_or_else(|| bad(&format!("invalid selector term {part:?}")))?);
        }
        Ok(LabelSelector(out))
    }

    /// From the object form (`matchLabels`, `matchExpressions`); an absent or empty one matches everything.
    pub fn from_object(value: Option<&Value>) -> Self {
        let mut out = Vec::new();
        let Some(value) = value else { return LabelSelector(out) };
        for (key, label) in crate::object::map(value, "/matchLabels").into_iter().flatten() {
            out.push(Requirement::In(key.clone(), vec![label.as_str().unwrap_or_default().to_owned()]));
        }
        for expression in crate::object::list(value, "/matchExpressions") {
            let key = text(expression, "/key").to_owned();
            let values = crate::object::list(expression, "/values");
            let values = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            out.push(match text(expression, "/operator") {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                // An operator nobody knows must not match by accident.
                _ => Requirement::In(key, Vec::new()),
            });
        }
        LabelSelector(out)
    }

    /// Whether an object's labels match.
    pub fn matches(&self, object: &Value) -> bool {
        match crate::object::map(object, "/metadata/labels") {
            Some(labels) => self.matches_labels(labels),
            None => self.0.iter().all(|r| holds(r, &|_: &str| None)),
        }
    }

    /// Whether a label map matches.
    pub fn matches_labels(&self, labels: &Map<String, Value>) -> bool {
        self.0
            .iter()
            .all(|r| holds(r, &|key: &str| labels.get(key).and_then(Value::as_str).map(str::to_owned)))
    }

    /// The query form, as `Scale.status.selector` has it.
    pub fn to_query(&self) -> String {
        let terms: Vec<String> = self.0.iter().map(term).collect();
        terms.join(",")
    }
}

fn term(requirement: &Requirement) -> String {
    match requirement {
        Requirement::In(k, v) if v.len() == 1 => format!("{k}={}", v.concat()),
        Requirement::In(k, v) => format!("{k} in ({})", v.join(",")),
        Requirement::NotIn(k, v) if v.len() == 1 => format!("{k}!={}", v.concat()),
        Requirement::NotIn(k, v) => format!("{k} notin ({})", v.join(",")),
        Requirement::Exists(k) => k.clone(),
        Requirement::Absent(k) => format!("!{k}"),
        Requirement::Greater(k, n) => format!("{k}>{n}"),
        Requirement::Less(k, n) => format!("{k}<{n}"),
    }
}

fn holds(requirement: &Requirement, value_of: &dyn Fn(&str) -> Option<String>) -> bool {
    let number = |key: &str| value_of(key).and_then(|v| v.parse::<i64>().ok());
    match requirement {
        Requirement::In(key, values) => value_of(key).is_some_and(|v| values.contains(&v)),
        Requirement::NotIn(key, values) => value_of(key).is_none_or(|v| !values.contains(&v)),
        Requirement::Exists(key) => value_of(key).is_some(),
        Requirement::Absent(key) => value_of(key).is_none(),
        Requirement::Greater(key, n) => number(key).is_some_and(|v| v > *n),
        Requirement::Less(key, n) => number(key).is_some_and(|v| v < *n),
    }
}

fn split_outside_parens(input: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0usize, 0usize, Vec::new());
    for (i, c) in input.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                out.push(&input[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&input[start..]);
    out
}

fn valid_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

fn requirement(part: &str) -> Option<Requirement> {
    let key = |k: &str| Some(k.trim().to_owned()).filter(|k| valid_key(k));
    if let Some(rest) = part.strip_prefix('!') {
        return Some(Requirement::Absent(key(rest)?));
    }
    if let Some((head, values)) = part.split_once('(') {
        let values: Vec<String> = values.strip_suffix(')')?.split(',').map(|v| v.trim().to_owned()).collect();
        let head = head.trim();
        return if let Some(k) = head.strip_suffix(" notin") {
            Some(Requirement::NotIn(key(k)?, values))
        } else {
            Some(Requirement::In(key(head.strip_suffix(" in")?)?, values))
        };
    }
    if let Some((k, v)) = part.split_once("!=") {
        return Some(Requirement::NotIn(key(k)?, vec![v.trim().to_owned()]));
    }
    if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(key(k)?, vec![v.trim().to_owned()]));
    }
    if let Some((k, v)) = part.split_once('>') {
        return Some(Requirement::Greater(key(k)?, v.trim().parse().ok()?));
    }
    if let Some((k, v)) = part.split_once('<') {
        return Some(Requirement::Less(key(k)?, v.trim().parse().ok()?));
    }
    Some(Requirement::Exists(key(part)?))
}

/// Conditions on fields: path, value, whether it must differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<(String, String, bool)>);

impl FieldSelector {
    /// Parses `metadata.name=x,status.phase!=Running`; only fields in `supported` (besides name and namespace) are taken.
    pub fn parse(input: &str, supported: &dyn Fn(&str) -> bool) -> Result<Self> {
        let mut out = Vec::new();
        for part in input.split(',').filter(|p| !p.is_empty()) {
            let (field, value, differs) = if let Some((f, v)) = part.split_once("!=") {
                (f, v, true)
            } else if let Some((f, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (f, v, false)
            } else {
                let text = format!("invalid selector: '{input}'; can't understand '{part}'");
                return Err(ApiError::bad_request(text));
            };
            if !matches!(field, "metadata.name" | "metadata.namespace") && !supported(field) {
                return Err(ApiError::bad_request(format!("field label not supported: {field}")));
            }
            out.push((field.to_owned(), value.to_owned(), differs));
        }
        Ok(FieldSelector(out))
    }

    /// Whether an object's fields match; an absent field counts as "".
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, wanted, differs)| (field_text(object, field) == *wanted) != *differs)
    }
}

/// The name that a field selector's `metadata.name=` asks for, if any.
pub fn exact_name(input: &str) -> Option<String> {
    // Which other fields may stand there is checked with the resource in hand.
    let selector = FieldSelector::parse(input, &|_| true).ok()?;
    selector.0.into_iter().find_map(|(field, name, differs)| {
        (field == "metadata.name" && !differs && !name.is_empty()).then_some(name)
    })
}

fn field_text(object: &Value, field: &str) -> String {
    let pointer = match field {
        // Selectors of events by the other group's names.
        "regarding.kind" => "/involvedObject/kind".to_owned(),
        "regarding.name" => "/involvedObject/name".to_owned(),
        "regarding.namespace" => "/involvedObject/namespace".to_owned(),
        "reason" => "/reason".to_owned(),
        _ => format!("/{}", field.replace('.', "/")),
    };
    match object.pointer(&pointer) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Bool(b)) => b.to_string(),
        Some(Value::Number(n)) => n.to_string(),
        _ if field == "spec.unschedulable" => "false".to_owned(),
        _ => String::new(),
    }
}

/// Whether a resource can be selected by a field.
pub fn supported_field(group: &str, plural: &str, field: &str) -> bool {
    let fields: &[&str] = match (group, plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") | ("events.k8s.io", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.name",
            "regarding.namespace",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    };
    fields.contains(&field)
}

#[cfg(test)]
mod tests;
