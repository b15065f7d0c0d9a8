//! Conditions on query parameters.

use meltemi_proto::envoy::config::route::v3::QueryParameterMatcher as Proto;
use meltemi_proto::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;

use super::string::StringMatcher;
use crate::base::reject::{At, Compiled, Reject};

/// One condition on a query parameter; the first of that name counts.
#[derive(Debug, Clone)]
pub struct QueryMatcher {
    name: String,
    test: Option<StringMatcher>,
    present: bool,
}

impl QueryMatcher {
    /// Compiles Envoy's message.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        if proto.name.is_empty() {
            return Err(Reject::new("name", "is empty"));
        }
        let (test, present) = match &proto.query_parameter_match_specifier {
            None => (None, true),
            Some(Specifier::PresentMatch(present)) => (None, *present),
            Some(Specifier::StringMatch(string)) => {
                (Some(StringMatcher::compile(string).at("string_match")?), true)
            }
        };
        Ok(Self { name: proto.name.clone(), test, present })
    }

    /// Whether a path with its query meets the condition.
    pub fn is_match(&self, path: &str) -> bool {
        let value = parameters(path).find(|(name, _)| *name == self.name).map(|(_, value)| value);
        match (&self.test, value) {
            (None, value) => value.is_some() == self.present,
            (Some(_), None) => false,
            (Some(test), Some(value)) => test.is_match(value),
        }
    }
}

fn parameters(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = path.split_once('?').map_or("", |(_, rest)| rest.split('#').next().unwrap_or_default());
    query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parameter_of_the_name_counts() {
        let present = QueryMatcher { name: "a".into(), test: None, present: true };
        assert!(present.is_match("/p?b=1&a"));
        assert!(!present.is_match("/p?aa=1"));
        let exact = QueryMatcher { name: "a".into(), test: Some(StringMatcher::exact("1")), present: true };
        assert!(exact.is_match("/p?a=1&a=2"));
        assert!(!exact.is_match("/p?a=2&a=1"));
    }
}
