//! JSON formats: a structure whose leaves are formats. Numbers stay numbers, absent values are `null`, keys are sorted.

use meltemi_proto::google::protobuf::{Struct, Value, value::Kind};

use super::format::{Text, value};
use super::operator::Operator;
use crate::base::reject::{At, Compiled};
use crate::telemetry::info::LogContext;

/// A compiled JSON format: all that is fixed is already text.
#[derive(Clone, Debug)]
pub(super) struct JsonFormat {
    root: Node,
    omit_empty: bool,
}

#[derive(Clone, Debug)]
enum Node {
    /// Keys, already quoted and followed by a colon.
    Object(Vec<(Box<str>, Node)>),
    List(Vec<Node>),
    /// JSON text that never changes.
    Fixed(Box<str>),
    /// One operator alone: its type is kept.
    Value(Operator, Option<usize>),
    /// Text mixed with operators.
    Text(Text),
}

impl JsonFormat {
    /// Compiles a `json_format`.
    pub(super) fn compile(format: &Struct, omit_empty: bool) -> Compiled<Self> {
        Ok(JsonFormat { root: object(format, omit_empty)?, omit_empty })
    }

    /// Appends the object and a newline.
    pub(super) fn write(&self, line: &mut Vec<u8>, context: &LogContext<'_>) {
        if !self.node(line, &self.root, context) {
            line.extend_from_slice(b"{}");
        }
        line.push(b'\n');
    }

    /// Appends a node; `false` when it is absent and nothing was written.
    fn node(&self, line: &mut Vec<u8>, node: &Node, context: &LogContext<'_>) -> bool {
        match node {
            Node::Fixed(text) => line.extend_from_slice(text.as_bytes()),
            Node::Value(operator, limit) => return single(line, operator, *limit, context),
            Node::Text(text) => quoted(line, |line| {
                text.write(line, context);
                true
            }),
            Node::Object(fields) => self.fields(line, fields, context),
            Node::List(items) => {
                line.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        line.push(b',');
                    }
                    if !self.node(line, item, context) {
                        line.extend_from_slice(b"null");
                    }
                }
                line.push(b']');
            }
        }
        true
    }

    fn fields(&self, line: &mut Vec<u8>, fields: &[(Box<str>, Node)], context: &LogContext<'_>) {
        line.push(b'{');
        let mut separate = false;
        for (key, node) in fields {
            let before = line.len();
            if separate {
                line.push(b',');
            }
            line.extend_from_slice(key.as_bytes());
            if self.node(line, node, context) {
                separate = true;
            } else if self.omit_empty {
                line.truncate(before);
            } else {
                line.extend_from_slice(b"null");
                separate = true;
            }
        }
        line.push(b'}');
    }
}

fn object(format: &Struct, omit_empty: bool) -> Compiled<Node> {
    let mut names: Vec<_> = format.fields.iter().collect();
    names.sort_by_key(|(name, _)| *name);
    let fields = names.into_iter().map(|(name, value)| {
        let key = format!("{}:", serde_json::Value::from(name.as_str()));
        Ok((key.into(), compile(value, omit_empty).at(name)?))
    });
    Ok(Node::Object(fields.collect::<Compiled<_>>()?))
}

fn compile(value: &Value, omit_empty: bool) -> Compiled<Node> {
    Ok(match &value.kind {
        Some(Kind::StringValue(text)) => {
            let text = Text::compile(text, omit_empty)?;
            match text.single() {
                Some((operator, limit)) => Node::Value(operator.clone(), limit),
                None => Node::Text(text),
            }
        }
        Some(Kind::StructValue(inner)) => object(inner, omit_empty)?,
        Some(Kind::ListValue(list)) => {
            Node::List(list.values.iter().map(|item| compile(item, omit_empty)).collect::<Compiled<_>>()?)
        }
        Some(Kind::NumberValue(number)) => Node::Fixed(serde_json::Value::from(*number).to_string().into()),
        Some(Kind::BoolValue(value)) => Node::Fixed(value.to_string().into()),
        Some(Kind::NullValue(_)) | None => Node::Fixed("null".into()),
    })
}

fn single(line: &mut Vec<u8>, operator: &Operator, limit: Option<usize>, context: &LogContext<'_>) -> bool {
    if operator.is_json() {
        return value(line, operator, limit, context);
    }
    if let Some(structure) = operator.structure(context).filter(|value| !value.is_string()) {
        line.extend_from_slice(structure.to_string().as_bytes());
        return !structure.is_null() || limit.is_none();
    }
    let start = line.len();
    let mut written = false;
    quoted(line, |line| {
        written = value(line, operator, limit, context);
        written
    });
    if !written {
        line.truncate(start);
    }
    written
}

/// Appends what `write` writes as a JSON string.
fn quoted(line: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    line.push(b'"');
    let start = line.len();
    write(line);
    let raw = line.get(start..).unwrap_or_default();
    let plain = raw.iter().all(|byte| matches!(byte, 0x20..=0x7E) && !matches!(byte, b'"' | b'\\'));
    if !plain {
        let text = String::from_utf8_lossy(raw).into_owned();
        let escaped = serde_json::Value::from(text).to_string();
        line.truncate(start - 1);
        line.extend_from_slice(escaped.as_bytes());
        return;
    }
    line.push(b'"');
}
