//! `RouteMatch`.

use http::Method;
use meltemi_proto::envoy::config::route::v3::RouteMatch as Proto;
use meltemi_proto::envoy::config::route::v3::route_match::PathSpecifier;

use crate::base::duration::bool_or;
use crate::base::head::{HeaderKey, RequestHead};
use crate::base::reject::{At, Compiled, Reject, each, required, unsupported};
use crate::matcher::fraction::Fraction;
use crate::matcher::header::HeaderMatcher;
use crate::matcher::query::QueryMatcher;
use crate::matcher::regex::Regex;

/// When a route applies: all conditions hold.
#[derive(Debug)]
pub struct RouteMatch {
    path: PathMatch,
    ignore_case: bool,
    headers: Vec<HeaderMatcher>,
    query: Vec<QueryMatcher>,
    fraction: Option<Fraction>,
    grpc_only: bool,
}

/// The condition on the path; what it matched is what a rewrite replaces.
#[derive(Debug)]
pub enum PathMatch {
    /// The path begins with it.
    Prefix(String),
    /// The path is it.
    Exact(String),
    /// The path without query matches it.
    Regex(Regex),
    /// The path is it, or goes on with `/`.
    SeparatedPrefix(String),
    /// The request is a CONNECT.
    Connect,
}

impl RouteMatch {
    /// Compiles Envoy's message.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        // Without them more requests would match.
        unsupported(&[
            (proto.tls_context.is_some(), "tls_context"),
            (!proto.dynamic_metadata.is_empty(), "dynamic_metadata"),
            (!proto.filter_state.is_empty(), "filter_state"),
            (!proto.cookies.is_empty(), "cookies"),
        ])?;
        let path = match required("path_specifier", &proto.path_specifier)? {
            PathSpecifier::Prefix(prefix) => PathMatch::Prefix(prefix.clone()),
            PathSpecifier::Path(path) => PathMatch::Exact(path.clone()),
            PathSpecifier::SafeRegex(regex) => PathMatch::Regex(Regex::compile(regex).at("safe_regex")?),
            PathSpecifier::PathSeparatedPrefix(prefix) => {
                if prefix.ends_with('/') || prefix.contains(['?', '#']) || !prefix.starts_with('/') {
                    let reason = "must start with '/', must not end with '/' and must not hold '?' or '#'";
                    return Err(Reject::new("path_separated_prefix", reason));
                }
                PathMatch::SeparatedPrefix(prefix.clone())
            }
            PathSpecifier::ConnectMatcher(_) => PathMatch::Connect,
            PathSpecifier::PathMatchPolicy(policy) => {
                return Err(Reject::new("path_match_policy", format!("{:?} is not supported", policy.name)));
            }
        };
        Ok(Self {
            path,
            ignore_case: !bool_or(&proto.case_sensitive, true),
            headers: each("headers", &proto.headers, HeaderMatcher::compile)?,
            query: each("query_parameters", &proto.query_parameters, QueryMatcher::compile)?,
            fraction: proto.runtime_fraction.as_ref().map(Fraction::runtime),
            grpc_only: proto.grpc.is_some(),
        })
    }

    /// The condition on the path.
    pub fn path(&self) -> &PathMatch {
        &self.path
    }

    /// Whether a request meets all conditions.
    pub fn is_match(&self, head: &RequestHead, random: u64) -> bool {
        self.path_fits(head)
            && self.fraction.is_none_or(|fraction| fraction.holds(random))
            && (!self.grpc_only || is_grpc(head))
            && self.headers.iter().all(|header| header.is_match(head))
            && self.query.iter().all(|query| query.is_match(&head.path))
    }

    fn path_fits(&self, head: &RequestHead) -> bool {
        if head.method == Method::CONNECT && head.path.is_empty() {
            return matches!(self.path, PathMatch::Connect);
        }
        let path = head.path_only();
        match &self.path {
            PathMatch::Prefix(prefix) => self.starts(&head.path, prefix),
            PathMatch::Exact(exact) => path.len() == exact.len() && self.starts(path, exact),
            PathMatch::Regex(regex) => regex.is_match(path),
            PathMatch::SeparatedPrefix(prefix) => {
                self.starts(path, prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            PathMatch::Connect => head.method == Method::CONNECT,
        }
    }

    fn starts(&self, path: &str, prefix: &str) -> bool {
        let Some(start) = path.as_bytes().get(..prefix.len()) else { return false };
        if self.ignore_case {
            start.eq_ignore_ascii_case(prefix.as_bytes())
        } else {
            start == prefix.as_bytes()
        }
    }
}

/// Whether the content type says gRPC.
pub fn is_grpc(head: &RequestHead) -> bool {
    head.value(&HeaderKey::Name(http::header::CONTENT_TYPE)).is_some_and(|value| is_grpc_type(&value))
}

/// `application/grpc`, alone or with a sub-format.
pub fn is_grpc_type(value: &str) -> bool {
    value.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(specifier: PathSpecifier, case_sensitive: bool) -> RouteMatch {
        let proto = Proto {
            path_specifier: Some(specifier),
            case_sensitive: Some(meltemi_proto::google::protobuf::BoolValue { value: case_sensitive }),
            ..Proto::default()
        };
        RouteMatch::compile(&proto).unwrap()
    }

    #[test]
    fn conditions_that_are_not_known_are_not_passed_over() {
        let proto = Proto {
            path_specifier: Some(PathSpecifier::Prefix("/".into())),
            filter_state: vec![Default::default()],
            ..Proto::default()
        };
        assert_eq!(RouteMatch::compile(&proto).unwrap_err().field(), "filter_state");
    }

    #[test]
    fn paths_match_as_documented() {
        let prefix = || PathSpecifier::Prefix("/api".into());
        let exact = || PathSpecifier::Path("/api".into());
        let separated = || PathSpecifier::PathSeparatedPrefix("/api".into());
        for (specifier, case, request, expected) in [
            (prefix(), true, "/apiary", true),
            (prefix(), true, "/API", false),
            (prefix(), false, "/API/x", true),
            (exact(), true, "/api?x=1", true),
            (exact(), true, "/api/", false),
            (separated(), true, "/api", true),
            (separated(), true, "/api/v1", true),
            (separated(), true, "/api?x", true),
            (separated(), true, "/apiary", false),
        ] {
            let head = RequestHead { path: request.into(), ..RequestHead::default() };
            assert_eq!(path(specifier.clone(), case).is_match(&head, 0), expected, "{specifier:?} {request}");
        }
    }

    #[test]
    fn connect_needs_its_own_matcher() {
        let head = RequestHead { method: Method::CONNECT, ..RequestHead::default() };
        assert!(!path(PathSpecifier::Prefix(String::new()), true).is_match(&head, 0));
        assert!(path(PathSpecifier::ConnectMatcher(Default::default()), true).is_match(&head, 0));
    }

    #[test]
    fn grpc_content_types() {
        assert!(is_grpc_type("application/grpc") && is_grpc_type("application/grpc+proto"));
        assert!(!is_grpc_type("application/grpc-web"));
    }
}
