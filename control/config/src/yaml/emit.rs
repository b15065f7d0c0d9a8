//! Writes YAML that every reader takes alike: what YAML 1.1 would take for a truth value or a number is quoted.

use serde_json::Value;

use super::scalar;

/// A value as a YAML document, in the style of `kubectl get -o yaml`; ends with a line break.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(entries) if !entries.is_empty() => node(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => node(value, 0, &mut out),
        other => {
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
    out
}

/// A map or list that is not empty, each line indented.
fn node(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(&text(key));
                out.push(':');
                entry(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                element(item, indent, out);
            }
        }
        _ => {}
    }
}

/// What follows a key: lists stand at the key's own indentation, as kubectl writes them.
fn entry(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            out.push('\n');
            node(value, indent + 2, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            node(value, indent, out);
        }
        other => leaf(other, indent + 2, out),
    }
}

/// What follows a dash: a map begins on the same line.
fn element(value: &Value, indent: usize, out: &mut String) {
    let nested = match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if !nested {
        return leaf(value, indent + 2, out);
    }
    let mut inner = String::new();
    node(value, indent + 2, &mut inner);
    out.push(' ');
    out.push_str(inner.trim_start_matches(' '));
}

fn leaf(value: &Value, indent: usize, out: &mut String) {
    out.push(' ');
    match value {
        Value::String(text) if is_block(text) => block(text, indent, out),
        other => {
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(written) => text(written),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// Several lines are readable as a block, unless spaces or control characters would be lost in it.
fn is_block(text: &str) -> bool {
    let odd = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{feff}')
    };
    text.contains('\n')
        && !text.contains(odd)
        && !text.starts_with([' ', '\n'])
        && !text.lines().any(|line| line.ends_with(' '))
}

fn block(text: &str, indent: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    let breaks = text.len() - body.len();
    out.push_str(match breaks {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    for line in body.split('\n') {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
        out.push('\n');
    }
    out.extend(std::iter::repeat_n('\n', breaks.saturating_sub(1)));
}

/// A text on one line: plain where no reader could take it for something else.
fn text(text: &str) -> String {
    let special = |c: char| {
        matches!(
            c,
            '#' | ':'
                | ','
                | '['
                | ']'
                | '{'
                | '}'
                | '&'
                | '*'
                | '!'
                | '|'
                | '>'
                | '\''
                | '"'
                | '%'
                | '@'
                | '`'
                | '?'
                | '<'
                | '='
        )
    };
    let first =
        text.chars().next().is_none_or(|c| special(c) || c == '-' && text.len() == 1 || c.is_whitespace());
    let inside = text.contains(": ")
        || text.contains(" #")
        || text.ends_with([':', ' '])
        || text.starts_with("- ")
        || text.starts_with("---");
    let control =
        text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{feff}'));
    if control {
        return Value::String(text.to_owned()).to_string();
    }
    let plain = scalar::plain(text) == Value::String(text.to_owned());
    if first || inside || !plain || looks_like_a_date(text) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    text.to_owned()
}

/// YAML 1.1 has dates, and some readers make something else of them.
fn looks_like_a_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8 && bytes.iter().take(4).all(u8::is_ascii_digit) && bytes.get(4) == Some(&b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_written_as_kubectl_writes_it() {
        let value = json!({
            "a": {"b": [1, {"c": "x", "d": [true]}, [], "yes"], "e": {}},
            "text": "one\ntwo\n", "cut": "one\ntwo", "n": null,
        });
        let expected = "a:\n  b:\n  - 1\n  - c: x\n    d:\n    - true\n  - []\n  - 'yes'\n  e: {}\ntext: |\n  one\n  two\ncut: |-\n  one\n  two\n'n': null\n";
        assert_eq!(write(&value), expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "",
            " ",
            "n",
            "Yes",
            "010",
            "1e3",
            "0x1f",
            "~",
            "null",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "'",
            "\"",
            "a'b",
            "*",
            "&a",
            "!x",
            "%",
            "@",
            "2024-01-02",
            "a\nb",
            "a\n\nb\n\n",
            " a\nb",
            "a \nb",
            "\ta",
            "é",
            "a:",
            "{}",
            "[x]",
            "=",
            "...",
            "---",
            "?",
            "|",
            ">x",
            "\u{7}",
            "\n",
            "\n\n",
            "a\r\nb",
            "<<",
        ] {
            let value = json!({"k": text, "l": [text], "m": {text: 1}});
            let written = write(&value);
            let read = crate::yaml::read("t", &written).expect(&written).documents.remove(0).value;
            assert_eq!(read, value, "{text:?}\n{written}");
        }
    }
}
