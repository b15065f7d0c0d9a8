//! Formats: a line of text or of JSON.

use super::json::JsonFormat;
use super::operator::Operator;
use super::parse::{Piece, pieces};
use crate::base::reject::{At, Compiled};
use crate::telemetry::info::LogContext;

/// A compiled format.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// Text; the format itself ends the line.
    Text(Text),
    /// A JSON object and a newline.
    Json(JsonFormat),
}

impl Format {
    /// Appends one line.
    pub(super) fn write(&self, line: &mut Vec<u8>, context: &LogContext<'_>) {
        match self {
            Format::Text(text) => text.write(line, context),
            Format::Json(json) => json.write(line, context),
        }
    }
}

/// Literal text mixed with operators.
#[derive(Clone, Debug)]
pub struct Text {
    pieces: Box<[Part]>,
    omit_empty: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Value(Operator, Option<usize>),
}

impl Text {
    /// Compiles a format string; with `omit_empty` absent values leave nothing instead of `-`.
    pub fn compile(format: &str, omit_empty: bool) -> Compiled<Self> {
        let part = |piece| {
            Ok(match piece {
                Piece::Text(text) => Part::Text(text.into()),
                Piece::Operator { name, arguments, limit } => {
                    Part::Value(Operator::compile(name, arguments).at("")?, limit)
                }
            })
        };
        let pieces = pieces(format)?.into_iter().map(part).collect::<Compiled<_>>()?;
        Ok(Text { pieces, omit_empty })
    }

    /// The operator, when the format is nothing but one.
    pub(super) fn single(&self) -> Option<(&Operator, Option<usize>)> {
        match &*self.pieces {
            [Part::Value(operator, limit)] => Some((operator, *limit)),
            _ => None,
        }
    }

    /// Appends the text.
    pub fn write(&self, line: &mut Vec<u8>, context: &LogContext<'_>) {
        for piece in &self.pieces {
            match piece {
                Part::Text(text) => line.extend_from_slice(text.as_bytes()),
                Part::Value(operator, limit) => {
                    if !value(line, operator, *limit, context) && !self.omit_empty {
                        line.push(b'-');
                    }
                }
            }
        }
    }
}

/// Appends an operator's value, cut to its limit without splitting a character.
pub(super) fn value(
    line: &mut Vec<u8>,
    operator: &Operator,
    limit: Option<usize>,
    context: &LogContext<'_>,
) -> bool {
    let start = line.len();
    let written = operator.write(line, context);
    if let Some(mut end) = limit.map(|limit| start + limit).filter(|end| *end < line.len()) {
        while end > start && line.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
            end -= 1;
        }
        line.truncate(end);
    }
    written
}
