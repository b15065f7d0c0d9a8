//! HTTP routes of a VirtualService.

use crate::Severity;
use crate::istio::virtual_service::{HttpRetry, HttpRoute};
use crate::path::Path;

use super::report::Report;
use super::virtual_service::{destination, weights};
use super::{fault, http_action, match_request, names};

pub(super) fn check(route: &HttpRoute, delegate: bool, path: &Path, report: &mut Report) {
    action(route, delegate, path, report);
    for (position, request) in route.matches.iter().enumerate() {
        match_request::check(request, &path.key("match").index(position), report);
    }
    for (position, target) in route.route.iter().enumerate() {
        let path = path.key("route").index(position);
        destination(&target.destination, &path.key("destination"), report);
        http_action::headers(target.headers.as_ref(), &path.key("headers"), report);
    }
    weights(route.route.iter().map(|target| target.weight), &path.key("route"), report);
    report.duration(&path.key("timeout"), route.timeout);
    if let Some(policy) = &route.retries {
        retries(policy, &path.key("retries"), report);
    }
    if let Some(injection) = &route.fault {
        fault::check(injection, &path.key("fault"), report);
    }
    http_action::headers(route.headers.as_ref(), &path.key("headers"), report);
    http_action::check(route, path, report);
    mirrors(route, path, report);
}

/// Exactly one of the things that can happen to a request.
fn action(route: &HttpRoute, in_delegate: bool, path: &Path, report: &mut Report) {
    let named: Vec<&str> = [
        ("`route`", !route.route.is_empty()),
        ("`redirect`", route.redirect.is_some()),
        ("`directResponse`", route.direct_response.is_some()),
        ("`delegate`", route.delegate.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    match named.as_slice() {
        [] => report.error(
            path,
            "nothing happens to the request",
            "add `route`, `redirect`, `directResponse` or `delegate`",
        ),
        [_] => {}
        several => {
            let cure = "keep one of them";
            report.error(path, format!("{} exclude each other", several.join(" and ")), cure);
        }
    }
    if in_delegate && route.delegate.is_some() {
        report.error(&path.key("delegate"), "a delegate cannot delegate further", "put the routes here");
    }
    let rest = [
        ("`fault`", route.fault.is_some()),
        ("`rewrite`", route.rewrite.is_some()),
        ("`mirror`", route.mirror.is_some() || !route.mirrors.is_empty()),
    ];
    for (name, there) in rest {
        let only_routes = route.redirect.is_some() || (route.direct_response.is_some() && name != "`fault`");
        if there && only_routes {
            report.error(path, format!("{name} has no effect without `route`"), "remove it");
        }
    }
}

fn retries(policy: &HttpRetry, path: &Path, report: &mut Report) {
    report.not_negative(&path.key("attempts"), policy.attempts);
    let others = policy.per_try_timeout.is_some() || !policy.retry_on.is_empty() || policy.backoff.is_some();
    if policy.attempts == 0 && others {
        report.error(
            path,
            "`attempts: 0` switches retries off, but other fields are set",
            "set `attempts`, or remove the others",
        );
    }
    report.duration(&path.key("perTryTimeout"), policy.per_try_timeout);
    report.duration(&path.key("backoff"), policy.backoff);
    for condition in policy.retry_on.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        let status = condition.parse::<u32>().is_ok_and(|status| (100..600).contains(&status));
        if !status && !RETRY_CONDITIONS.contains(&condition) {
            let near = crate::suggest::nearest(condition, RETRY_CONDITIONS);
            let cure = near.map_or_else(
                || "see Envoy's x-envoy-retry-on".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            report.error(&path.key("retryOn"), format!("{condition:?} is no condition for retries"), cure);
        }
    }
}

/// Envoy's conditions for HTTP and gRPC.
const RETRY_CONDITIONS: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

fn mirrors(route: &HttpRoute, path: &Path, report: &mut Report) {
    if let Some(mirror) = &route.mirror {
        destination(mirror, &path.key("mirror"), report);
        if !route.mirrors.is_empty() {
            report.error(path, "`mirror` and `mirrors` exclude each other", "move the mirror into `mirrors`");
        }
    } else if route.mirror_percent.is_some() || route.mirror_percentage.is_some() {
        report.warning(
            path,
            "a percentage is mirrored, but there is no `mirror`",
            "add it, or remove the percentage",
        );
    }
    if let Some(percent) = route.mirror_percent {
        report.percent(&path.key("mirrorPercent"), f64::from(percent));
    }
    if let Some(percent) = route.mirror_percentage {
        report.percent(&path.key("mirrorPercentage").key("value"), percent.value);
    }
    for (position, policy) in route.mirrors.iter().enumerate() {
        let path = path.key("mirrors").index(position);
        match &policy.destination {
            Some(target) => destination(target, &path.key("destination"), report),
            None => report.error(&path.key("destination"), "the destination is missing", ""),
        }
        if let Some(percent) = policy.percentage {
            report.percent(&path.key("percentage").key("value"), percent.value);
        }
    }
}

/// Rules that can never be reached, because one before them takes every request, or the same ones.
pub(super) fn unreachable(routes: &[HttpRoute], path: &Path, report: &mut Report) {
    let mut catch_all: Option<usize> = None;
    for (position, route) in routes.iter().enumerate() {
        let place = path.index(position);
        if let Some(first) = catch_all {
            let message = format!("this rule is never reached: http[{first}] before it takes every request");
            report.add(
                Severity::Warning,
                "IST0130",
                &place,
                message,
                "put the rule without conditions last".to_owned(),
            );
            continue;
        }
        let duplicate =
            |request| routes[..position].iter().position(|before| before.matches.contains(request));
        let taken: Vec<Option<usize>> = route.matches.iter().map(duplicate).collect();
        if let (false, Some(Some(first))) = (taken.is_empty() || taken.contains(&None), taken.first()) {
            let message = format!("this rule is never reached: its matches stand in http[{first}] already");
            report.add(
                Severity::Warning,
                "IST0130",
                &place,
                message,
                "remove it, or change its matches".to_owned(),
            );
        } else {
            for (which, first) in
                taken.iter().enumerate().filter_map(|(which, first)| first.map(|first| (which, first)))
            {
                let message = format!("this match has no effect: it stands in http[{first}] already");
                let place = place.key("match").index(which);
                report.add(Severity::Warning, "IST0131", &place, message, "remove it".to_owned());
            }
        }
        if match_request::takes_everything(route) {
            catch_all = Some(position);
        }
    }
}

/// Names of headers that are changed.
pub(super) fn header_names<'a>(names: impl Iterator<Item = &'a String>, path: &Path, report: &mut Report) {
    for name in names {
        report.name(&path.key(name), names::header(name));
    }
}
