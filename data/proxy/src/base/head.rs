//! The head of a request, with Envoy's pseudo-headers as fields, the same for HTTP/1 and HTTP/2.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Version};

use super::reject::{Compiled, Reject};

/// A proxy's word to the proxy before it that no application has got the request, so that another host may be tried. Only proxies say
/// it: it is taken away from what an upstream answers.
pub const NOT_DELIVERED: HeaderName = HeaderName::from_static("x-meltemi-not-delivered");

/// The head of one request. Matching, header mutation and access logs read it; an attempt sends a copy upstream.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`, `http` or `https`.
    pub scheme: &'static str,
    /// `:authority` (HTTP/1: `host`).
    pub authority: String,
    /// `:path` with its query; `*` for `OPTIONS *`, empty for CONNECT.
    pub path: String,
    /// The protocol the client spoke.
    pub version: Version,
    /// All other headers (never `host`).
    pub headers: HeaderMap,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::GET,
            scheme: "http",
            authority: String::new(),
            path: String::new(),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
        }
    }
}

impl RequestHead {
    /// The path without its query.
    pub fn path_only(&self) -> &str {
        path_only(&self.path)
    }

    /// The value of a header, several values joined by commas as Envoy does for matching.
    pub fn value(&self, key: &HeaderKey) -> Option<Cow<'_, str>> {
        match key {
            HeaderKey::Method => Some(self.method.as_str().into()),
            HeaderKey::Scheme => Some(self.scheme.into()),
            HeaderKey::Authority => Some(self.authority.as_str().into()),
            HeaderKey::Path => Some(self.path.as_str().into()),
            HeaderKey::Name(name) => joined(&self.headers, name),
        }
    }

    /// The value of a header as text; for single values.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// The part of a path before `?` and `#`.
pub fn path_only(path: &str) -> &str {
    path.find(['?', '#']).map_or(path, |end| &path[..end])
}

/// Whether one of these `x-envoy-` headers is there. Most requests have none: one look at the names is cheaper than a search for each.
pub fn holds_envoy(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-envoy-") && names.contains(name))
}

/// All values of a header, joined by commas.
pub fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter();
    let first = String::from_utf8_lossy(values.next()?.as_bytes());
    let mut rest = values.peekable();
    if rest.peek().is_none() {
        return Some(first);
    }
    let mut all = first.into_owned();
    for value in rest {
        all.push(',');
        all.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    Some(all.into())
}

/// The name of a header or pseudo-header, resolved when the configuration is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderKey {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority` or `host`
    Authority,
    /// `:path`
    Path,
    /// Any other.
    Name(HeaderName),
}

impl HeaderKey {
    /// Compiles a header name of the configuration.
    pub fn compile(field: &str, name: &str) -> Compiled<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":scheme" => Self::Scheme,
            ":authority" | "host" => Self::Authority,
            ":path" => Self::Path,
            other => Self::Name(
                HeaderName::from_bytes(other.as_bytes())
                    .map_err(|_| Reject::new(field, format!("{name:?} is not a header name")))?,
            ),
        })
    }
}
