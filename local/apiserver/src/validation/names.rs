//! Names, labels and annotations.

use crate::error::FieldError;
use crate::object::{list, map, name, text};
use crate::registry::Resource;
use serde_json::Value;

/// What the real server says of a bad DNS subdomain.
pub const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// What the real server says of a bad DNS label.
pub const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// What the real server says of a bad service name.
pub const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Whether a string is a DNS label.
pub fn is_label(s: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    s.len() <= 63
        && edge(s.chars().next())
        && edge(s.chars().last())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Whether a string is a DNS subdomain.
pub fn is_subdomain(s: &str) -> bool {
    // Parts of a subdomain have no length limit of their own.
    s.len() <= 253
        && s.split('.').all(|part| {
            is_label(&part.chars().take(63).collect::<String>())
                || (part.len() > 63
                    && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
        })
}

/// Checks `metadata`.
pub fn metadata(resource: &Resource, value: &Value, out: &mut Vec<FieldError>) {
    object_name(resource, name(value), out);
    labels("metadata.labels", map(value, "/metadata/labels"), out);
    let annotations = map(value, "/metadata/annotations");
    let mut size = 0;
    for (key, content) in annotations.into_iter().flatten() {
        size += key.len() + content.as_str().map_or(0, str::len);
        key_name("metadata.annotations", &key.to_lowercase(), out);
    }
    if size > 256 * 1024 {
        out.push(FieldError::too_long("metadata.annotations", 256 * 1024));
    }
    for (i, owner) in list(value, "/metadata/ownerReferences").iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let detail = "must not be empty";
                out.push(FieldError::invalid(
                    format!("metadata.ownerReferences[{i}].{field}"),
                    &Value::from(""),
                    detail,
                ));
            }
        }
    }
}

fn object_name(resource: &Resource, own: &str, out: &mut Vec<FieldError>) {
    if own.is_empty() {
        out.push(FieldError::required("metadata.name", "name or generateName is required"));
        return;
    }
    let invalid = |detail: &str| FieldError::invalid("metadata.name", &Value::from(own), detail);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("rbac.authorization.k8s.io", _) if matches!(own, "." | "..") || own.contains(['/', '%']) => {
            out.push(invalid("may not contain '/' or '%'"));
        }
        ("rbac.authorization.k8s.io", _) => {}
        ("", "namespaces") if !is_label(own) => out.push(invalid(LABEL)),
        ("", "services") if !is_label(own) || own.starts_with(|c: char| c.is_ascii_digit()) => {
            out.push(invalid(LABEL_1035));
        }
        _ if !is_subdomain(own) => out.push(invalid(SUBDOMAIN)),
        _ => {}
    }
}

/// Checks a label map.
pub fn labels(at: &str, labels: Option<&serde_json::Map<String, Value>>, out: &mut Vec<FieldError>) {
    for (key, content) in labels.into_iter().flatten() {
        key_name(at, key, out);
        let content = content.as_str().unwrap_or_default();
        if content.len() > 63 {
            out.push(FieldError::invalid(at, &Value::from(content), "must be no more than 63 characters"));
        }
        if !is_label_text(content) {
            out.push(FieldError::invalid(at, &Value::from(content), LABEL_VALUE));
        }
    }
}

fn is_label_text(s: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    edge(s.chars().next())
        && edge(s.chars().last())
        && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn key_name(at: &str, key: &str, out: &mut Vec<FieldError>) {
    let (prefix, own) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    if own.is_empty() || own.len() > 63 || !is_label_text(own) {
        out.push(FieldError::invalid(at, &Value::from(key), QUALIFIED));
    }
    if prefix.is_some_and(|p| !is_subdomain(p)) {
        out.push(FieldError::invalid(at, &Value::from(key), format!("prefix part {SUBDOMAIN}")));
    }
}
