//! From the parser's lines and columns to places with bytes.

use saphyr_parser::Span;

use super::Place;

/// A text and where its lines begin.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The place of what the parser saw.
    pub(super) fn place(&self, span: &Span) -> Place {
        let mut place = self.at(span.start.line(), span.start.col());
        place.end = self.at(span.end.line(), span.end.col()).start.max(place.start);
        place
    }

    /// A place from the parser's line (from 1) and column (from 0, in characters).
    pub(super) fn at(&self, line: usize, column: usize) -> Place {
        let from = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let to = self.starts.get(line).copied().unwrap_or(self.text.len());
        let content = self.text.get(from..to).unwrap_or_default();
        let start = content.char_indices().nth(column).map_or(to, |(at, _)| from + at);
        Place { line, column: column + 1, start, end: start }
    }
}
