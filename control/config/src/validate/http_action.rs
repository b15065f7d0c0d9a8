//! What is done to requests: redirects, rewrites, direct responses, headers, CORS.

use base64::Engine as _;

use crate::istio::virtual_service::{
    CorsPolicy, Headers, HttpDirectResponse, HttpRedirect, HttpRewrite, HttpRoute, StringMatch,
};
use crate::path::Path;

use super::http_route::header_names;
use super::report::Report;
use super::{match_request, names};

/// Largest body of a direct response, in bytes.
const MAX_BODY: usize = 1 << 20;

pub(super) fn check(route: &HttpRoute, path: &Path, report: &mut Report) {
    if let Some(value) = &route.redirect {
        redirect(value, &path.key("redirect"), report);
    }
    if let Some(value) = &route.direct_response {
        direct_response(value, &path.key("directResponse"), report);
    }
    if let Some(value) = &route.rewrite {
        rewrite(value, &path.key("rewrite"), report);
    }
    if let Some(value) = &route.cors_policy {
        cors(value, &path.key("corsPolicy"), report);
    }
    if let Some(delegate) = &route.delegate {
        let path = path.key("delegate").key("name");
        report.required(&path, &delegate.name, "the name of the delegate");
    }
}

fn redirect(redirect: &HttpRedirect, path: &Path, report: &mut Report) {
    let port = redirect.port.is_some() || redirect.derive_port.is_some();
    let target = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority, &redirect.scheme];
    if target.iter().all(|text| text.is_empty()) && !port {
        report.error(path, "nothing changes", "add `uri`, `authority`, `scheme` or `port`");
    }
    if redirect.redirect_code != 0 && !matches!(redirect.redirect_code, 301 | 302 | 303 | 307 | 308) {
        let message = format!("{} is no status of a redirect", redirect.redirect_code);
        report.error(&path.key("redirectCode"), message, "write 301, 302, 303, 307 or 308");
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        report.error(
            &path.key("scheme"),
            format!("{:?} is no scheme", redirect.scheme),
            "write http or https",
        );
    }
    if let Some(number) = redirect.port {
        report.port(&path.key("port"), number);
    }
}

fn direct_response(response: &HttpDirectResponse, path: &Path, report: &mut Report) {
    if !(200..600).contains(&response.status) {
        report.error(
            &path.key("status"),
            format!("{} is no HTTP status", response.status),
            "write 200 to 599",
        );
    }
    let Some(body) = &response.body else { return };
    let path = path.key("body");
    if body.string.is_none() && body.bytes.is_none() {
        report.error(&path, "the body is empty", "write `string` or `bytes`, or remove it");
    }
    let decoded = body.bytes.as_ref().map(|bytes| base64::engine::general_purpose::STANDARD.decode(bytes));
    if let Some(Err(_)) = decoded {
        report.error(&path.key("bytes"), "is not base64", "write text into `string`");
    }
    let length = body.string.as_ref().map(String::len).into_iter();
    let length = length.chain(decoded.and_then(Result::ok).map(|bytes| bytes.len())).max().unwrap_or(0);
    if length > MAX_BODY {
        report.error(&path, format!("the body has {length} bytes"), "at most 1 MiB; serve it from a service");
    } else if length > MAX_BODY / 10 {
        report.warning(
            &path,
            format!("the body has {length} bytes, which every proxy holds"),
            "serve it from a service",
        );
    }
}

fn rewrite(rewrite: &HttpRewrite, path: &Path, report: &mut Report) {
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        if !rewrite.uri.is_empty() {
            report.error(path, "`uri` and `uriRegexRewrite` exclude each other", "keep one of them");
        }
        report.regex(&path.key("uriRegexRewrite").key("match"), &regex.pattern);
    } else if rewrite.uri.is_empty() && rewrite.authority.is_empty() {
        report.error(path, "nothing is rewritten", "add `uri`, `authority` or `uriRegexRewrite`");
    }
}

pub(super) fn headers(headers: Option<&Headers>, path: &Path, report: &mut Report) {
    let Some(headers) = headers else { return };
    for (name, operations) in [("request", &headers.request), ("response", &headers.response)] {
        let Some(operations) = operations else { continue };
        let path = path.key(name);
        header_names(operations.set.keys(), &path.key("set"), report);
        header_names(operations.add.keys(), &path.key("add"), report);
        for (position, name) in operations.remove.iter().enumerate() {
            let path = path.key("remove").index(position);
            report.name(&path, names::header(name));
            if is_pseudo(name) {
                report.error(&path, format!("header {name:?} cannot be removed"), "");
            }
        }
        // The request's authority is the one pseudo header that a rule may set; the proxy rewrites it.
        let authority = |header: &str| name == "request" && (header == ":authority" || is_host(header));
        for pseudo in operations.set.keys().filter(|header| is_pseudo(header) && !authority(header)) {
            report.error(
                &path.key("set").key(pseudo),
                format!("header {pseudo:?} cannot be set"),
                "set `:authority` of a request, or use `rewrite`, or remove it",
            );
        }
        for pseudo in operations.add.keys().filter(|name| is_pseudo(name)) {
            report.error(
                &path.key("add").key(pseudo),
                format!("header {pseudo:?} cannot be added"),
                "use `set`",
            );
        }
    }
}

/// Is the header a part of the request line, which proxies refuse to change like other headers?
fn is_pseudo(header: &str) -> bool {
    header.starts_with(':') || is_host(header)
}

fn is_host(header: &str) -> bool {
    header.eq_ignore_ascii_case("host")
}

fn cors(policy: &CorsPolicy, path: &Path, report: &mut Report) {
    for (position, origin) in policy.allow_origins.iter().enumerate() {
        let path = path.key("allowOrigins").index(position);
        if *origin == StringMatch::Any {
            report.error(&path, "says no origin", "write `exact`, `prefix` or `regex`");
        }
        match_request::string(origin, &path, report);
    }
    for (position, method) in policy.allow_methods.iter().enumerate() {
        let token = !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase() || c == '*');
        if !token {
            let path = path.key("allowMethods").index(position);
            report.error(&path, format!("{method:?} is no method"), "write it in capitals, such as GET");
        }
    }
    for (name, list) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
        for (position, header) in list.iter().enumerate() {
            report.name(&path.key(name).index(position), names::header(header));
        }
    }
    report.duration(&path.key("maxAge"), policy.max_age);
}
