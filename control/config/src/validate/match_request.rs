//! Conditions of HTTP routes.

use std::collections::BTreeMap;

use crate::istio::virtual_service::{HttpMatchRequest, HttpRoute, StringMatch};
use crate::path::Path;

use super::report::Report;
use super::{names, virtual_service};

pub(super) fn check(request: &HttpMatchRequest, path: &Path, report: &mut Report) {
    for (name, value) in [
        ("uri", &request.uri),
        ("scheme", &request.scheme),
        ("method", &request.method),
        ("authority", &request.authority),
    ] {
        match value {
            Some(StringMatch::Any) => {
                report.error(&path.key(name), "says no value", "write `exact`, `prefix` or `regex`");
            }
            // Every path begins so.
            Some(StringMatch::Prefix(prefix)) if prefix.is_empty() && name == "uri" => {}
            Some(value) => string(value, &path.key(name), report),
            None => {}
        }
    }
    headers(&request.headers, &path.key("headers"), report);
    headers(&request.without_headers, &path.key("withoutHeaders"), report);
    for (name, value) in &request.query_params {
        string(value, &path.key("queryParams").key(name), report);
    }
    port(request.port, &path.key("port"), report);
    names::labels(&request.source_labels, &path.key("sourceLabels"), report);
    if !request.source_namespace.is_empty() {
        report.name(&path.key("sourceNamespace"), names::object_name(&request.source_namespace));
    }
    virtual_service::gateways(&request.gateways, &path.key("gateways"), report);
    if request.ignore_uri_case && matches!(request.uri, Some(StringMatch::Regex(_))) {
        let cure = "write the expression as (?i)…";
        report.warning(&path.key("ignoreUriCase"), "has no effect on a regular expression", cure);
    }
}

fn headers(headers: &BTreeMap<String, StringMatch>, path: &Path, report: &mut Report) {
    for (name, value) in headers {
        let path = path.key(name);
        report.name(&path, names::header(name));
        if name.starts_with(':') || name == "host" {
            let message = format!("header {name:?} is not matched here");
            report.error(&path, message, "use `authority`, `method`, `scheme` or `uri`");
        }
        string(value, &path, report);
    }
}

pub(super) fn string(value: &StringMatch, path: &Path, report: &mut Report) {
    match value {
        // Istio's word for "whatever its value".
        StringMatch::Regex(pattern) if pattern == "*" => {}
        StringMatch::Regex(pattern) => report.regex(&path.key("regex"), pattern),
        StringMatch::Prefix(prefix) if prefix.is_empty() => {
            report.error(&path.key("prefix"), "the prefix is empty", "write / for every path");
        }
        _ => {}
    }
}

/// 0 stands for any.
pub(super) fn port(number: u32, path: &Path, report: &mut Report) {
    if number != 0 {
        report.port(path, number);
    }
}

/// Whether a route takes every request that comes to it.
pub(super) fn takes_everything(route: &HttpRoute) -> bool {
    route.matches.is_empty() || route.matches.iter().any(is_catch_all)
}

fn is_catch_all(request: &HttpMatchRequest) -> bool {
    let any_path = match &request.uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => prefix.is_empty() || prefix == "/",
        Some(StringMatch::Regex(pattern)) => pattern == ".*" || pattern == "*",
        _ => false,
    };
    let plain = HttpMatchRequest {
        name: request.name.clone(),
        stat_prefix: request.stat_prefix.clone(),
        ignore_uri_case: request.ignore_uri_case,
        uri: request.uri.clone(),
        ..HttpMatchRequest::default()
    };
    any_path && *request == plain
}
