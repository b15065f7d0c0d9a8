//! `envoy.config.route.v3.HeaderMatcher`.

use meltemi_proto::envoy::config::route::v3::HeaderMatcher as Proto;
use meltemi_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier as Specifier;

use super::regex::Regex;
use super::string::StringMatcher;
use crate::base::head::{HeaderKey, RequestHead};
use crate::base::reject::{At, Compiled};

/// One condition on a header.
#[derive(Debug, Clone)]
pub struct HeaderMatcher {
    key: HeaderKey,
    test: Test,
    invert: bool,
    missing_as_empty: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Present(bool),
    Range(i64, i64),
    Text(StringMatcher),
}

impl HeaderMatcher {
    /// Compiles Envoy's message.
    #[allow(deprecated)] // The old forms are still what many control planes send.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        let key = HeaderKey::compile("name", &proto.name)?;
        let test = match &proto.header_match_specifier {
            None => Test::Present(true),
            Some(Specifier::PresentMatch(present)) => Test::Present(*present),
            Some(Specifier::RangeMatch(range)) => Test::Range(range.start, range.end),
            Some(Specifier::ExactMatch(text)) => Test::Text(StringMatcher::exact(text)),
            Some(Specifier::PrefixMatch(text)) => Test::Text(StringMatcher::prefix(text)),
            Some(Specifier::SuffixMatch(text)) => Test::Text(StringMatcher::suffix(text)),
            Some(Specifier::ContainsMatch(text)) => Test::Text(StringMatcher::contains(text)),
            Some(Specifier::SafeRegexMatch(regex)) => {
                Test::Text(StringMatcher::regex(Regex::compile(regex).at("safe_regex_match")?))
            }
            Some(Specifier::StringMatch(string)) => {
                Test::Text(StringMatcher::compile(string).at("string_match")?)
            }
        };
        Ok(Self {
            key,
            test,
            invert: proto.invert_match,
            missing_as_empty: proto.treat_missing_header_as_empty,
        })
    }

    /// Whether a request head meets the condition. A missing header meets no inverted value match either.
    pub fn is_match(&self, head: &RequestHead) -> bool {
        self.test(head.value(&self.key).as_deref())
    }

    /// Whether a value (or its absence) meets the condition.
    pub fn test(&self, value: Option<&str>) -> bool {
        if let Test::Present(wanted) = self.test {
            return (value.is_some() == wanted) != self.invert;
        }
        let Some(value) = value.or(self.missing_as_empty.then_some("")) else {
            return false;
        };
        let matched = match &self.test {
            Test::Present(_) => true,
            Test::Range(start, end) => value.parse::<i64>().is_ok_and(|n| n >= *start && n < *end),
            Test::Text(matcher) => matcher.is_match(value),
        };
        matched != self.invert
    }
}

#[cfg(test)]
#[allow(deprecated)]
mod tests {
    use super::*;
    use meltemi_proto::envoy::r#type::v3::Int64Range;

    fn matcher(specifier: Specifier, invert: bool, missing: bool) -> HeaderMatcher {
        HeaderMatcher::compile(&Proto {
            name: "X-Test".into(),
            invert_match: invert,
            treat_missing_header_as_empty: missing,
            header_match_specifier: Some(specifier),
        })
        .unwrap()
    }

    #[test]
    fn conditions_follow_envoys_table() {
        let exact = Specifier::ExactMatch("a".into());
        for (invert, missing, value, expected) in [
            (false, false, Some("a"), true),
            (false, false, None, false),
            (true, false, Some("a"), false),
            (true, false, Some("b"), true),
            (true, false, None, false),
            (true, true, None, true),
        ] {
            assert_eq!(
                matcher(exact.clone(), invert, missing).test(value),
                expected,
                "{invert} {missing} {value:?}"
            );
        }
        let range = Specifier::RangeMatch(Int64Range { start: -10, end: 0 });
        assert!(matcher(range.clone(), false, false).test(Some("-1")));
        assert!(!matcher(range.clone(), false, false).test(Some("0")));
        assert!(!matcher(range, false, false).test(Some("somestring")));
        assert!(matcher(Specifier::PresentMatch(true), true, false).test(None));
    }
}
