//! `envoy.type.matcher.v3.StringMatcher`.

use meltemi_proto::envoy::r#type::matcher::v3::StringMatcher as Proto;
use meltemi_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use super::regex::Regex;
use crate::base::reject::{At, Compiled, Reject, required};

/// How a string is compared.
#[derive(Debug, Clone)]
pub struct StringMatcher {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
}

impl StringMatcher {
    /// Compiles Envoy's message.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        let fold = |text: &String| if proto.ignore_case { text.to_ascii_lowercase() } else { text.clone() };
        let pattern = match required("match_pattern", &proto.match_pattern)? {
            MatchPattern::Exact(text) => Pattern::Exact(fold(text)),
            MatchPattern::Prefix(text) => Pattern::Prefix(fold(text)),
            MatchPattern::Suffix(text) => Pattern::Suffix(fold(text)),
            MatchPattern::Contains(text) => Pattern::Contains(fold(text)),
            MatchPattern::SafeRegex(regex) => Pattern::Regex(Regex::compile(regex).at("safe_regex")?),
            MatchPattern::Custom(_) => {
                return Err(Reject::new("custom", "custom string matchers are not supported"));
            }
        };
        Ok(Self { pattern, ignore_case: proto.ignore_case })
    }

    /// A matcher for one exact, case-sensitive string.
    pub fn exact(text: &str) -> Self {
        Self { pattern: Pattern::Exact(text.into()), ignore_case: false }
    }

    /// A matcher for a case-sensitive prefix.
    pub fn prefix(text: &str) -> Self {
        Self { pattern: Pattern::Prefix(text.into()), ignore_case: false }
    }

    /// A matcher for a case-sensitive suffix.
    pub fn suffix(text: &str) -> Self {
        Self { pattern: Pattern::Suffix(text.into()), ignore_case: false }
    }

    /// A matcher for a case-sensitive part.
    pub fn contains(text: &str) -> Self {
        Self { pattern: Pattern::Contains(text.into()), ignore_case: false }
    }

    /// A matcher for a regular expression over the whole string.
    pub fn regex(regex: Regex) -> Self {
        Self { pattern: Pattern::Regex(regex), ignore_case: false }
    }

    /// The text to be equal to, if that is what it compares.
    pub fn as_exact(&self) -> Option<&str> {
        match &self.pattern {
            Pattern::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value matches.
    pub fn is_match(&self, value: &str) -> bool {
        if let Pattern::Regex(regex) = &self.pattern {
            return regex.is_match(value);
        }
        let (value, pattern) = (value.as_bytes(), self.text());
        let equal = |a: &[u8]| if self.ignore_case { a.eq_ignore_ascii_case(pattern) } else { a == pattern };
        match &self.pattern {
            Pattern::Exact(_) => equal(value),
            Pattern::Prefix(_) => value.get(..pattern.len()).is_some_and(equal),
            Pattern::Suffix(_) => {
                value.len().checked_sub(pattern.len()).and_then(|start| value.get(start..)).is_some_and(equal)
            }
            _ if pattern.is_empty() => true,
            _ => value.windows(pattern.len()).any(equal),
        }
    }

    fn text(&self) -> &[u8] {
        match &self.pattern {
            Pattern::Exact(t) | Pattern::Prefix(t) | Pattern::Suffix(t) | Pattern::Contains(t) => {
                t.as_bytes()
            }
            Pattern::Regex(_) => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_matches_as_documented() {
        let matcher = |pattern, ignore_case| {
            StringMatcher::compile(&Proto { match_pattern: Some(pattern), ignore_case }).unwrap()
        };
        assert!(matcher(MatchPattern::Exact("Ab".into()), true).is_match("aB"));
        assert!(!matcher(MatchPattern::Exact("Ab".into()), false).is_match("aB"));
        assert!(matcher(MatchPattern::Prefix("/api".into()), false).is_match("/api/v1"));
        assert!(matcher(MatchPattern::Suffix(".PNG".into()), true).is_match("/x.png"));
        assert!(!matcher(MatchPattern::Suffix("long".into()), false).is_match("ng"));
        assert!(matcher(MatchPattern::Contains("mid".into()), false).is_match("a-mid-b"));
        assert!(StringMatcher::compile(&Proto::default()).is_err());
    }
}
