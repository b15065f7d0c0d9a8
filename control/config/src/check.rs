//! Checks a JSON value against a shape and brings it into the one form that serde reads. Collects every error.

mod describe;

use serde_json::{Map, Value};

use crate::Duration;
use crate::diagnostic::FieldError;
use crate::path::{Path, Step};
use crate::shape::{Integer, Message, Shape};
use crate::suggest;

/// Which spellings are taken besides the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// What the API server takes: the CRD's names and types.
    Kubernetes,
    /// Proto-JSON: also proto field names, numbers in quotes and enumerations by number.
    Proto,
}

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub errors: Vec<FieldError>,
    /// Fields that no type has. Errors for what a user writes, warnings for what is stored already.
    pub unknown: Vec<FieldError>,
    /// Fields that will go away.
    pub deprecated: Vec<FieldError>,
}

/// One walk over a value.
pub(crate) struct Checker {
    dialect: Dialect,
    path: Path,
    pub findings: Findings,
}

/// So that a hostile file cannot make a report of a million lines.
const MAX_FINDINGS: usize = 200;

impl Checker {
    pub(crate) fn new(dialect: Dialect, path: Path) -> Self {
        Self { dialect, path, findings: Findings::default() }
    }

    /// Checks `value` and returns it in canonical form; what does not fit is left out and reported.
    pub(crate) fn check(&mut self, shape: &Shape, value: &Value) -> Option<Value> {
        match (shape, value) {
            (_, Value::Null) => None,
            (Shape::Message(message), Value::Object(fields)) => Some(self.message(message, fields)),
            (Shape::Map(inner), Value::Object(entries)) => Some(self.map(inner, entries)),
            (Shape::List(inner), Value::Array(items)) => Some(self.list(inner, items)),
            (Shape::Free { object: false }, any) => Some(any.clone()),
            (Shape::Free { object: true }, Value::Object(_)) => Some(value.clone()),
            (Shape::Text, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => Some(value.clone()),
            (Shape::Duration, Value::String(text)) => self.duration(text),
            (Shape::Enum(names), _) => self.enumeration(names, value),
            (Shape::Integer(integer), Value::Number(_) | Value::String(_)) => self.integer(*integer, value),
            (Shape::Number, Value::Number(_)) => Some(value.clone()),
            (Shape::Number, Value::String(text)) if self.dialect == Dialect::Proto => self.number(text),
            _ => self.wrong_type(shape, value),
        }
    }

    fn message(&mut self, message: &Message, fields: &Map<String, Value>) -> Value {
        let mut out = Map::new();
        for (name, value) in fields {
            let Some(canonical) = self.canonical(message, name) else {
                self.unknown(message, name);
                continue;
            };
            let Some(field) = message.fields.get(&canonical) else { continue };
            self.path.push(Step::Key(name.clone()));
            if let Some(instead) = &field.deprecated
                && !value.is_null()
            {
                let finding =
                    FieldError::new(self.path.clone(), "this field is deprecated").hint(instead.clone());
                self.findings.deprecated.push(finding);
            }
            if out.contains_key(&canonical) {
                self.error(format!("{canonical:?} is given twice, under two of its names"), None);
            } else if let Some(value) = self.check(&field.shape, value) {
                out.insert(canonical, value);
            }
            self.path.pop();
        }
        self.exclusions(message, &out);
        Value::Object(out)
    }

    /// The field's JSON name for a name that the dialect allows.
    fn canonical(&self, message: &Message, name: &str) -> Option<String> {
        if message.fields.contains_key(name) {
            return Some(name.to_owned());
        }
        if let Some((canonical, _)) =
            message.fields.iter().find(|(_, field)| field.also.iter().any(|also| also == name))
        {
            return Some(canonical.clone());
        }
        if self.dialect == Dialect::Kubernetes || !name.contains('_') {
            return None;
        }
        let camel = describe::camel_case(name);
        message.fields.keys().find(|field| field.eq_ignore_ascii_case(&camel)).cloned()
    }

    fn unknown(&mut self, message: &Message, name: &str) {
        if self.findings.unknown.len() >= MAX_FINDINGS {
            return;
        }
        let known: Vec<&str> = message.fields.keys().map(String::as_str).collect();
        let hint = match suggest::nearest(name, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => "no field is known here".to_owned(),
            None => format!("known here: {}", known.join(", ")),
        };
        self.findings.unknown.push(FieldError::new(self.path.key(name), "unknown field").hint(hint));
    }

    /// At most one field of each group may be set.
    fn exclusions(&mut self, message: &Message, fields: &Map<String, Value>) {
        for group in &message.oneofs {
            let set: Vec<String> = group
                .iter()
                .filter(|name| fields.get(*name).is_some_and(describe::is_set))
                .map(|name| format!("`{name}`"))
                .collect();
            if set.len() > 1 {
                let message = format!("{} exclude each other", set.join(" and "));
                self.error(message, Some("keep one of them".to_owned()));
            }
        }
    }

    fn map(&mut self, inner: &Shape, entries: &Map<String, Value>) -> Value {
        let mut out = Map::new();
        for (name, value) in entries {
            self.path.push(Step::Key(name.clone()));
            if let Some(value) = self.check(inner, value) {
                out.insert(name.clone(), value);
            } else if value.is_null() {
                // `headers: {x-user:}` is how people write "the header is there".
                if let Shape::Message(_) = inner {
                    out.insert(name.clone(), Value::Object(Map::new()));
                } else {
                    self.error("a value is missing".to_owned(), None);
                }
            }
            self.path.pop();
        }
        Value::Object(out)
    }

    fn list(&mut self, inner: &Shape, items: &[Value]) -> Value {
        let mut out = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            self.path.push(Step::Index(position));
            if item.is_null() {
                self.error(
                    "the list element is empty".to_owned(),
                    Some("fill it in or remove its dash".to_owned()),
                );
            } else if let Some(item) = self.check(inner, item) {
                out.push(item);
            }
            self.path.pop();
        }
        Value::Array(out)
    }

    fn duration(&mut self, text: &str) -> Option<Value> {
        match text.parse::<Duration>() {
            Ok(duration) => Some(Value::String(duration.to_string())),
            Err(error) => {
                self.error(error.to_string(), None);
                None
            }
        }
    }

    fn enumeration(&mut self, names: &[String], value: &Value) -> Option<Value> {
        if let Value::String(name) = value {
            if names.contains(name) {
                return Some(value.clone());
            }
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let hint = match suggest::nearest(name, &known) {
                Some(near) => format!("did you mean {near}? one of {}", known.join(", ")),
                None => format!("write one of {}", known.join(", ")),
            };
            self.error(format!("{name:?} is not one of the values of this field"), Some(hint));
            return None;
        }
        if self.dialect == Dialect::Proto
            && let Some(number) = value.as_u64()
            && let Some(name) = usize::try_from(number).ok().and_then(|number| names.get(number))
        {
            return Some(Value::String(name.clone()));
        }
        self.wrong_type(&Shape::Enum(names.to_vec()), value)
    }

    fn integer(&mut self, integer: Integer, value: &Value) -> Option<Value> {
        let number = match value {
            Value::Number(number) => {
                number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(|| {
                    number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e18).map(|f| f as i128)
                })
            }
            Value::String(text) if integer.wide || self.dialect == Dialect::Proto => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else { return self.wrong_type(&Shape::Integer(integer), value) };
        let (low, high) = match (integer.signed, integer.wide) {
            (true, true) => (i128::from(i64::MIN), i128::from(i64::MAX)),
            (true, false) => (i128::from(i32::MIN), i128::from(i32::MAX)),
            (false, true) => (0, i128::from(u64::MAX)),
            (false, false) => (0, i128::from(u32::MAX)),
        };
        if number < low || number > high {
            self.error(format!("{number} is out of range"), Some(format!("write {low} to {high}")));
            return None;
        }
        if integer.signed {
            i64::try_from(number).ok().map(Value::from)
        } else {
            u64::try_from(number).ok().map(Value::from)
        }
    }

    fn number(&mut self, text: &str) -> Option<Value> {
        match text.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Some(Value::Number(number)),
            None => {
                self.error(format!("{text:?} is not a finite number"), None);
                None
            }
        }
    }

    fn wrong_type(&mut self, shape: &Shape, value: &Value) -> Option<Value> {
        let (expected, cure) = describe::shape(shape);
        let message = format!("expected {expected}, found {}", describe::value(value));
        self.error(message, Some(cure.to_owned()));
        None
    }

    fn error(&mut self, message: String, hint: Option<String>) {
        if self.findings.errors.len() < MAX_FINDINGS {
            self.findings.errors.push(FieldError { path: self.path.clone(), message, hint });
        }
    }
}
