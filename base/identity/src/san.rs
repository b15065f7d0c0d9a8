//! Which names of a peer's certificate are acceptable.

use std::net::IpAddr;

use regex::Regex;

use crate::chain::Info;

/// Kind of name that a matcher looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any kind.
    Any,
    /// DNS names only.
    Dns,
    /// URIs only.
    Uri,
    /// Addresses only.
    Ip,
}

/// How a name is compared.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Equal. A DNS name in the certificate may be a wildcard (`*.example.com`).
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// Contains.
    Contains(String),
    /// Matches from begin to end.
    Regex(Regex),
}

impl Pattern {
    /// A pattern of a regular expression that must match the whole name.
    ///
    /// # Errors
    /// When the expression does not parse or is too large.
    pub fn regex(expression: &str) -> Result<Self, regex::Error> {
        let anchored = format!("^(?:{expression})$");
        regex::RegexBuilder::new(&anchored).size_limit(1 << 20).build().map(Self::Regex)
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(wanted) => name == wanted,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => name.ends_with(suffix.as_str()),
            Self::Contains(part) => name.contains(part.as_str()),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// One acceptable name.
#[derive(Clone, Debug)]
pub struct SanMatcher {
    /// Names it looks at.
    pub kind: Kind,
    /// How it compares.
    pub pattern: Pattern,
}

impl SanMatcher {
    /// A URI, in full.
    pub fn uri(uri: impl Into<String>) -> Self {
        Self { kind: Kind::Uri, pattern: Pattern::Exact(uri.into()) }
    }

    /// A DNS name, in full.
    pub fn dns(name: impl Into<String>) -> Self {
        Self { kind: Kind::Dns, pattern: Pattern::Exact(name.into()) }
    }

    /// A name of any kind, in full.
    pub fn exact(name: impl Into<String>) -> Self {
        Self { kind: Kind::Any, pattern: Pattern::Exact(name.into()) }
    }

    /// All identities of a trust domain.
    pub fn trust_domain(name: &str) -> Self {
        Self { kind: Kind::Uri, pattern: Pattern::Prefix(format!("spiffe://{name}/")) }
    }

    /// Does one of the certificate's names match?
    pub fn matches(&self, names: &Info) -> bool {
        let looks_at = |kind| self.kind == Kind::Any || self.kind == kind;
        (looks_at(Kind::Uri) && names.uris.iter().any(|uri| self.pattern.matches(uri)))
            || (looks_at(Kind::Dns) && names.dns.iter().any(|name| self.matches_dns(name)))
            || (looks_at(Kind::Ip) && names.ips.iter().any(|ip| self.matches_ip(*ip)))
    }

    fn matches_dns(&self, name: &str) -> bool {
        let Pattern::Exact(wanted) = &self.pattern else { return self.pattern.matches(name) };
        if name.eq_ignore_ascii_case(wanted) {
            return true;
        }
        let Some(parent) = name.strip_prefix("*.") else { return false };
        wanted
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
    }

    fn matches_ip(&self, ip: IpAddr) -> bool {
        match &self.pattern {
            Pattern::Exact(wanted) => wanted.parse() == Ok(ip),
            other => other.matches(&ip.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn names() -> Info {
        Info {
            uris: vec!["spiffe://td/ns/a/sa/b".into()],
            dns: vec!["*.example.com".into(), "Plain.test".into()],
            ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            subject: String::new(),
            issuer: String::new(),
            serial: String::new(),
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH,
            is_ca: false,
        }
    }

    #[test]
    fn names_match_by_kind_and_pattern() {
        let any = |pattern| SanMatcher { kind: Kind::Any, pattern };
        let table = [
            (SanMatcher::uri("spiffe://td/ns/a/sa/b"), true),
            (SanMatcher::uri("spiffe://td/ns/a/sa/bb"), false),
            (SanMatcher::dns("spiffe://td/ns/a/sa/b"), false),
            (SanMatcher::trust_domain("td"), true),
            (SanMatcher::trust_domain("t"), false),
            (SanMatcher::dns("www.example.com"), true),
            (SanMatcher::dns("a.b.example.com"), false),
            (SanMatcher::dns("example.com"), false),
            (SanMatcher::dns("plain.TEST"), true),
            (SanMatcher::exact("10.0.0.1"), true),
            (SanMatcher::exact("fd00:0::1"), true),
            (any(Pattern::Prefix("spiffe://td/ns/a".into())), true),
            (any(Pattern::Suffix("/sa/b".into())), true),
            (any(Pattern::Contains("ns/a".into())), true),
            (any(Pattern::regex("spiffe://.*/sa/b").unwrap()), true),
            (any(Pattern::regex("/sa/b").unwrap()), false),
        ];
        for (matcher, expected) in table {
            assert_eq!(matcher.matches(&names()), expected, "{matcher:?}");
        }
    }
}
