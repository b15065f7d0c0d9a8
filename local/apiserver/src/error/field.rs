//! What is wrong with one field of an object.

use serde_json::Value;

/// What is wrong with one field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where, e.g. `spec.ports[0].port`.
    pub field: String,
    /// The machine-readable cause, e.g. `FieldValueRequired`.
    pub reason: &'static str,
    /// The text after the field name, e.g. `Required value`.
    pub message: String,
}

impl FieldError {
    fn new(field: impl Into<String>, reason: &'static str, message: String) -> Self {
        FieldError { field: field.into(), reason, message }
    }

    /// Whether CEL rules, which are written for objects of the schema's shape, cannot be asked with such a field.
    pub fn hinders_rules(&self) -> bool {
        const SHAPE: [&str; 5] = [
            "FieldValueRequired",
            "FieldValueTypeInvalid",
            "FieldValueNotSupported",
            "FieldValueTooMany",
            "FieldValueTooLong",
        ];
        SHAPE.contains(&self.reason)
    }

    /// A missing field.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, "FieldValueRequired", with_detail("Required value", detail))
    }

    /// A value that breaks a rule.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        Self::new(
            field,
            "FieldValueInvalid",
            with_detail(&format!("Invalid value: {}", shown(value)), detail.as_ref()),
        )
    }

    /// A value of the wrong JSON type.
    pub fn wrong_type(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        Self::new(
            field,
            "FieldValueTypeInvalid",
            with_detail(&format!("Invalid value: {}", shown(value)), detail.as_ref()),
        )
    }

    /// A value outside an enumeration.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        let detail = format!("supported values: {}", list.join(", "));
        Self::new(
            field,
            "FieldValueNotSupported",
            with_detail(&format!("Unsupported value: {}", shown(value)), &detail),
        )
    }

    /// A field that may not be set or changed here.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, "FieldValueForbidden", with_detail("Forbidden", detail))
    }

    /// A value that occurs twice where it must be unique.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(field, "FieldValueDuplicate", format!("Duplicate value: {}", shown(value)))
    }

    /// A reference to something that does not exist.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new(field, "FieldValueNotFound", format!("Not found: {}", shown(value)))
    }

    /// A list with too many items.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        Self::new(
            field,
            "FieldValueTooMany",
            format!(
                "Too many: {actual}: must have at most {max} {}",
                if max == 1 { "item" } else { "items" }
            ),
        )
    }

    /// A string that is too long.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::new(field, "FieldValueTooLong", format!("Too long: may not be more than {max} bytes"))
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn with_detail(head: &str, detail: &str) -> String {
    if detail.is_empty() { head.to_owned() } else { format!("{head}: {detail}") }
}

/// A value as field errors show it: scalars in full, anything bigger cut.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "\"object\"".to_owned(),
        Value::Array(_) => "\"array\"".to_owned(),
        Value::String(s) if s.len() > 256 => {
            let cut: String = s.chars().take(256).collect();
            format!("\"{cut}...\"")
        }
        other => other.to_string(),
    }
}
