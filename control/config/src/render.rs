//! Shows findings in the text they are about.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};
use crate::yaml::{Document, Documents, Place, Positions, YamlError};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For files and pipes.
    Plain,
    /// For terminals.
    Coloured,
}

/// A finding with its line of the file, the field and the cure.
pub fn finding(documents: &Documents, document: &Document, diagnostic: &Diagnostic, style: Style) -> String {
    let entry = document.positions.of(&diagnostic.path);
    let place = if Positions::is_element(&diagnostic.path) { entry.value } else { entry.key };
    let label = diagnostic.path.to_string();
    show(
        Shown { file: &documents.file, text: &documents.text, place, label: &label },
        level(diagnostic.severity),
        (Some(diagnostic.code), &diagnostic.message, diagnostic.cure.as_deref()),
        style,
    )
}

/// A text that is not YAML, with its line.
pub fn yaml_error(text: &str, error: &YamlError, style: Style) -> String {
    let start: usize = text.split_inclusive('\n').take(error.line.saturating_sub(1)).map(str::len).sum();
    let line = text.get(start..).unwrap_or_default();
    let start = start + line.char_indices().nth(error.column.saturating_sub(1)).map_or(0, |(at, _)| at);
    let place = Place { line: error.line, column: error.column, start, end: start };
    let shown = Shown { file: &error.file, text, place, label: "" };
    show(shown, Level::ERROR, (None, &error.message, None), style)
}

struct Shown<'a> {
    file: &'a str,
    text: &'a str,
    place: Place,
    label: &'a str,
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    }
}

fn show(
    shown: Shown<'_>,
    level: Level<'_>,
    (code, message, cure): (Option<&str>, &str, Option<&str>),
    style: Style,
) -> String {
    // A block's place spans many lines; the first says enough.
    let line_end =
        shown.text.get(shown.place.start..).and_then(|rest| rest.find('\n')).map(|at| shown.place.start + at);
    let end = shown.place.end.min(line_end.unwrap_or(shown.text.len())).max(shown.place.start);
    let title = match code {
        Some(code) => level.primary_title(message).id(code),
        None => level.primary_title(message),
    };
    let mut annotation = AnnotationKind::Primary.span(shown.place.start..end);
    if !shown.label.is_empty() {
        annotation = annotation.label(shown.label);
    }
    let mut group: Group<'_> =
        title.element(Snippet::source(shown.text).path(shown.file).fold(true).annotation(annotation));
    if let Some(cure) = cure {
        group = group.element(Level::HELP.message(cure));
    }
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Path;
    use crate::yaml;

    #[test]
    fn shows_the_line_the_field_and_the_cure() {
        let text = "kind: VirtualService\nspec:\n  http:\n  - match:\n    - urii:\n        exact: /\n";
        let documents = yaml::read("bad.yaml", text).expect("valid");
        let diagnostic = Diagnostic::error(Path::parse("spec.http[0].match[0].urii"), "unknown field")
            .cure("did you mean \"uri\"?");
        let shown = finding(&documents, &documents.documents[0], &diagnostic, Style::Plain);
        let expected = r#"error[IST0106]: unknown field
 --> bad.yaml:5:7
  |
5 |     - urii:
  |       ^^^^ spec.http[0].match[0].urii
  |
  = help: did you mean "uri"?"#;
        assert_eq!(shown, expected);
    }

    #[test]
    fn shows_where_a_text_is_no_yaml() {
        let text = "a: 1\na: 2\n";
        let error = yaml::read("bad.yaml", text).expect_err("duplicate");
        let shown = yaml_error(text, &error, Style::Plain);
        assert!(shown.contains("bad.yaml:2:1"), "{shown}");
        assert!(shown.contains("stands twice"), "{shown}");
    }
}
