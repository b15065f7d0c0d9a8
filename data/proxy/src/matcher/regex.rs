//! Linear-time regular expressions that must match the whole input, as Envoy's `safe_regex` does.

use meltemi_proto::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use regex_automata::meta;

use crate::base::reject::{At, Compiled, Reject, required};

/// The largest program a single expression may compile to.
const SIZE_LIMIT: usize = 2 << 20;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Regex(meta::Regex);

fn build(field: &str, pattern: &str) -> Compiled<meta::Regex> {
    meta::Regex::builder()
        .configure(meta::Config::new().nfa_size_limit(Some(SIZE_LIMIT)))
        .build(pattern)
        .map_err(|error| {
            Reject::new(field, format!("{pattern:?} is not a regular expression (RE2 syntax): {error}"))
        })
}

impl Regex {
    /// Compiles a pattern that must match whole inputs.
    pub fn full(field: &str, pattern: &str) -> Compiled<Self> {
        // Checked alone first, so that an unbalanced group cannot close ours.
        build(field, pattern)?;
        Ok(Self(build(field, &format!(r"\A(?:{pattern})\z"))?))
    }

    /// Compiles Envoy's message.
    pub fn compile(proto: &RegexMatcher) -> Compiled<Self> {
        Self::full("regex", &proto.regex)
    }

    /// Whether the whole input matches.
    pub fn is_match(&self, input: &str) -> bool {
        self.0.is_match(input)
    }
}

/// Search and replace; the replacement may name groups as `\1`.
#[derive(Debug, Clone)]
pub struct Substitution {
    regex: meta::Regex,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Group(usize),
}

impl Substitution {
    /// Compiles Envoy's message.
    pub fn compile(proto: &RegexMatchAndSubstitute) -> Compiled<Self> {
        let pattern = required("pattern", &proto.pattern)?;
        let regex = build("regex", &pattern.regex).at("pattern")?;
        let parts = parts(&proto.substitution);
        let groups = regex.captures_len();
        for part in &parts {
            if let Part::Group(n) = part
                && *n >= groups
            {
                return Err(Reject::new(
                    "substitution",
                    format!("\\{n} names a group the pattern does not have"),
                ));
            }
        }
        Ok(Self { regex, parts })
    }

    /// Replaces every match.
    pub fn apply(&self, input: &str) -> String {
        let mut out = String::with_capacity(input.len());
        let mut end = 0;
        for captures in self.regex.captures_iter(input) {
            let Some(whole) = captures.get_match() else { continue };
            out.push_str(&input[end..whole.start()]);
            for part in &self.parts {
                match part {
                    Part::Text(text) => out.push_str(text),
                    Part::Group(n) => {
                        out.push_str(captures.get_group(*n).map_or("", |span| &input[span.range()]))
                    }
                }
            }
            end = whole.end();
        }
        out.push_str(&input[end..]);
        out
    }
}

fn parts(substitution: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Group(digit as usize - '0' as usize));
            }
            ('\\', Some(other)) => text.push(other),
            (c, _) => text.push(c),
        }
    }
    parts.push(Part::Text(text));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_input_must_match() {
        let regex = Regex::full("regex", "/a|/b.*").unwrap();
        assert!(regex.is_match("/a") && regex.is_match("/bcd"));
        assert!(!regex.is_match("/ab") && !regex.is_match("x/a"));
        assert!(Regex::full("regex", "a)(?:b").is_err());
    }

    #[test]
    fn groups_are_put_into_the_replacement() {
        let proto = RegexMatchAndSubstitute {
            pattern: Some(RegexMatcher { regex: "^/service/([^/]+)(/.*)$".into(), ..Default::default() }),
            substitution: r"\2/instance/\1".into(),
        };
        assert_eq!(
            Substitution::compile(&proto).unwrap().apply("/service/foo/v1/api"),
            "/v1/api/instance/foo"
        );
        let bad = RegexMatchAndSubstitute { substitution: r"\3".into(), ..proto };
        assert_eq!(Substitution::compile(&bad).unwrap_err().field(), "substitution");
    }
}
