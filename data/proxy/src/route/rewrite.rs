//! Changing the path and the host on the way upstream.

use meltemi_proto::envoy::config::route::v3::RouteAction;
use meltemi_proto::envoy::config::route::v3::route_action::HostRewriteSpecifier;

use super::matching::PathMatch;
use crate::base::head::{HeaderKey, RequestHead};
use crate::base::reject::{At, Compiled, Reject};
use crate::matcher::regex::Substitution;

/// How the path changes.
#[derive(Debug, Clone, Default)]
pub enum PathRewrite {
    /// Not at all.
    #[default]
    None,
    /// What the route matched is replaced.
    Prefix(String),
    /// Matches of an expression in the path are replaced; the query stays.
    Regex(Substitution),
}

/// How the host changes.
#[derive(Debug, Clone, Default)]
pub enum HostRewrite {
    /// Not at all.
    #[default]
    None,
    /// To this.
    Literal(String),
    /// To the chosen host's name.
    Auto,
    /// To the value of a header.
    Header(HeaderKey),
    /// To what an expression makes of the path.
    PathRegex(Substitution),
}

impl PathRewrite {
    /// Compiles `prefix_rewrite` and `regex_rewrite`.
    pub fn compile(prefix: &str, regex: Option<Substitution>) -> Compiled<Self> {
        match (prefix, regex) {
            ("", None) => Ok(Self::None),
            ("", Some(regex)) => Ok(Self::Regex(regex)),
            (prefix, None) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Err(Reject::new("prefix_rewrite", "excludes regex_rewrite")),
        }
    }

    /// The new path, if it changes.
    pub fn apply(&self, path: &str, matched: &PathMatch) -> Option<String> {
        let end = crate::base::head::path_only(path).len();
        match self {
            Self::None => None,
            Self::Regex(substitution) => {
                Some(format!("{}{}", substitution.apply(&path[..end]), path.get(end..).unwrap_or_default()))
            }
            Self::Prefix(new) => {
                let cut = match matched {
                    PathMatch::Prefix(old) | PathMatch::SeparatedPrefix(old) => old.len(),
                    PathMatch::Exact(_) | PathMatch::Regex(_) => end,
                    PathMatch::Connect => return None,
                };
                Some(format!("{new}{}", path.get(cut..).unwrap_or_default()))
            }
        }
    }
}

impl HostRewrite {
    /// Compiles the host rewrite of a route action.
    pub fn compile(proto: &RouteAction) -> Compiled<Self> {
        Ok(match &proto.host_rewrite_specifier {
            None => Self::None,
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Self::Literal(host.clone()),
            Some(HostRewriteSpecifier::AutoHostRewrite(auto)) if auto.value => Self::Auto,
            Some(HostRewriteSpecifier::AutoHostRewrite(_)) => Self::None,
            Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
                Self::Header(HeaderKey::compile("host_rewrite_header", name)?)
            }
            Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
                Self::PathRegex(Substitution::compile(regex).at("host_rewrite_path_regex")?)
            }
            Some(_) => return Err(Reject::new("host_rewrite_specifier", "this form is not supported")),
        })
    }

    /// The new host, if it changes before a host is chosen.
    pub fn apply(&self, head: &RequestHead) -> Option<String> {
        match self {
            Self::None | Self::Auto => None,
            Self::Literal(host) => Some(host.clone()),
            Self::Header(key) => head.value(key).map(|v| v.into_owned()).filter(|v| !v.is_empty()),
            Self::PathRegex(substitution) => Some(substitution.apply(head.path_only())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_where_it_matched() {
        let rewrite = |new: &str, matched: PathMatch, path: &str| {
            PathRewrite::Prefix(new.into()).apply(path, &matched).unwrap()
        };
        assert_eq!(rewrite("/", PathMatch::Prefix("/api/".into()), "/api/v1?x=1"), "/v1?x=1");
        assert_eq!(rewrite("/v2", PathMatch::SeparatedPrefix("/v1".into()), "/v1"), "/v2");
        assert_eq!(rewrite("/new", PathMatch::Exact("/old".into()), "/old?q"), "/new?q");
    }
}
