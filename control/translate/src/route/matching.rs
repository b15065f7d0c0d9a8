//! Which requests a rule is for.

use meltemi_config::istio::virtual_service::{HttpMatchRequest, StringMatch};
use meltemi_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use meltemi_proto::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use meltemi_proto::envoy::config::route::v3::route_match::PathSpecifier;
use meltemi_proto::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use meltemi_proto::envoy::r#type::matcher::v3::StringMatcher;

use crate::source;
use crate::wire;

impl source::Condition for HttpMatchRequest {
    fn parts(&self) -> source::Parts<'_> {
        source::Parts {
            port: self.port,
            source_labels: &self.source_labels,
            source_namespace: &self.source_namespace,
            gateways: &self.gateways,
        }
    }
}

/// Every request.
pub fn any_request() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

/// The part of a match that is about the request.
pub fn request(condition: &HttpMatchRequest) -> RouteMatch {
    let mut headers = Vec::new();
    for (name, value) in &condition.headers {
        headers.push(header(&name.to_ascii_lowercase(), value, false));
    }
    for (name, value) in &condition.without_headers {
        headers.push(header(&name.to_ascii_lowercase(), value, true));
    }
    for (name, value) in
        [(":method", &condition.method), (":authority", &condition.authority), (":scheme", &condition.scheme)]
    {
        headers.extend(value.as_ref().map(|value| header(name, value, false)));
    }
    let query = condition.query_params.iter().map(|(name, value)| query_parameter(name, value));
    RouteMatch {
        path_specifier: Some(path(condition.uri.as_ref())),
        case_sensitive: wire::bool(!condition.ignore_uri_case),
        headers,
        query_parameters: query.collect(),
        ..Default::default()
    }
}

/// Longest regular expression, and largest compiled form, that a proxy is asked to take.
const MAX_REGEX: usize = 4096;
const MAX_COMPILED: usize = 1 << 20;

/// Are all regular expressions of a match valid? One that is not would make the proxy refuse all routes of the port.
pub fn can_be_compiled(condition: &HttpMatchRequest) -> bool {
    let single = [&condition.uri, &condition.scheme, &condition.method, &condition.authority];
    let maps = [&condition.headers, &condition.without_headers, &condition.query_params];
    let all = single.into_iter().flatten().chain(maps.into_iter().flat_map(|map| map.values()));
    all.into_iter().all(|value| match value {
        StringMatch::Regex(text) if text != "*" => is_regex(text),
        _ => true,
    })
}

fn is_regex(text: &str) -> bool {
    text.len() <= MAX_REGEX && regex::RegexBuilder::new(text).size_limit(MAX_COMPILED).build().is_ok()
}

/// Is the match true for every request, so that no later rule can be reached?
pub fn is_catch_all(matches: &RouteMatch) -> bool {
    let whole = match &matches.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    whole && matches.headers.is_empty() && matches.query_parameters.is_empty()
}

fn path(uri: Option<&StringMatch>) -> PathSpecifier {
    match uri {
        None | Some(StringMatch::Any) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Prefix(prefix)) if prefix.is_empty() => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Regex(regex)) if regex == "*" => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(wire::safe_regex(regex)),
    }
}

fn header(name: &str, value: &StringMatch, invert_match: bool) -> HeaderMatcher {
    let specifier = match matcher(value) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    HeaderMatcher {
        name: name.to_owned(),
        invert_match,
        // A header that is not there is not equal to anything.
        treat_missing_header_as_empty: invert_match && matcher(value).is_some(),
        header_match_specifier: Some(specifier),
    }
}

fn query_parameter(name: &str, value: &StringMatch) -> QueryParameterMatcher {
    let specifier = match matcher(value) {
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
        None => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}

/// A matcher of strings. `None` means that being there is enough.
pub fn matcher(value: &StringMatch) -> Option<StringMatcher> {
    match value {
        StringMatch::Any => None,
        StringMatch::Exact(text) => Some(wire::exact(text)),
        StringMatch::Prefix(text) => Some(wire::prefix(text)),
        StringMatch::Regex(text) if text == "*" => None,
        StringMatch::Regex(text) => Some(wire::regex(text)),
    }
}
