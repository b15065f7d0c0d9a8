//! A request on its way to a host, before its protocol is known.

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

use super::body::Body;

/// A request on its way out: what its head is made of, and its body.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// `:method`.
    pub method: &'a Method,
    /// `:scheme`, for HTTP/2.
    pub scheme: &'static str,
    /// `:authority`, or `host`.
    pub authority: &'a str,
    /// `:path`.
    pub path: &'a str,
    /// All others, without `host`.
    pub headers: &'a HeaderMap,
    /// One more, instead of that in `headers`.
    pub extra: Option<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Body,
}

impl Outgoing<'_> {
    /// As HTTP/2; `None` when it would not be a valid request.
    pub fn into_http2(self) -> Option<Request<Body>> {
        let mut uri = http::uri::Parts::default();
        uri.authority = Some(Authority::from_maybe_shared(shared(self.authority)).ok()?);
        if self.method != Method::CONNECT {
            let path = if self.path.is_empty() { "/" } else { self.path };
            uri.path_and_query = Some(PathAndQuery::from_maybe_shared(shared(path)).ok()?);
            uri.scheme = Some(if self.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
        }
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.clone_from(self.headers);
        headers.extend(self.extra);
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
        Some(request)
    }
}

fn shared(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
