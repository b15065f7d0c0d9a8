//! The admin interface: Envoy's paths and shapes, for `istioctl`, Kiali and people.
//!
//! A request is answered by a function from path to [`Answer`] that reads the engine through the traits in [`sources`]; only
//! [`serve`] knows of sockets. It runs on its own thread and takes nothing from the workers but a read of their counters.

mod certs;
mod clusters;
mod config_dump;
mod health;
mod index;
mod listeners;
mod logging;
mod query;
mod redact;
pub mod server;
mod server_info;
pub mod sources;
mod stats;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::telemetry::access_log::Sinks;
use crate::telemetry::stats::Registry;
pub use certs::certificate_details;
use query::Query;
pub use server::serve;
use sources::{CertificateSource, ClusterSource, ConfigSource, Lifecycle, ListenerSource};

/// What the admin interface reads and, on `POST`, changes.
#[derive(Clone)]
pub struct Admin {
    /// Accepted and rejected configuration.
    pub config: Arc<dyn ConfigSource>,
    /// Clusters and hosts as they are now.
    pub clusters: Arc<dyn ClusterSource>,
    /// Listeners as they are bound now.
    pub listeners: Arc<dyn ListenerSource>,
    /// Certificates in use.
    pub certificates: Arc<dyn CertificateSource>,
    /// The process: its state, and how to end it.
    pub lifecycle: Arc<dyn Lifecycle>,
    /// Statistics.
    pub stats: Registry,
    /// Access-log files.
    pub sinks: Sinks,
}

/// An answer, before it is an HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `text/plain`, `application/json` or `text/html`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    fn text(body: impl Into<String>) -> Self {
        Answer { status: StatusCode::OK, content_type: "text/plain; charset=UTF-8", body: body.into() }
    }

    fn html(body: String) -> Self {
        Answer { status: StatusCode::OK, content_type: "text/html; charset=UTF-8", body }
    }

    fn json(value: &Value) -> Self {
        let body = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
        Answer { status: StatusCode::OK, content_type: "application/json", body }
    }

    fn problem(status: StatusCode, why: impl Into<String>) -> Self {
        let body = why.into() + "\n";
        Answer { status, content_type: "text/plain; charset=UTF-8", body }
    }
}

/// Whether a path only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Reads,
    /// Changes the process: only by `POST`, so that no link and no page can do it by accident.
    Changes,
}

type Handler = fn(&Admin, &Query, bool) -> Answer;

/// Every path: what it does, how, and by whom it is answered. The flag tells a handler that the method was `POST`.
const PATHS: &[(&str, &str, Access, Handler)] = &[
    ("/", "this page", Access::Reads, |_, _, _| index::html()),
    ("/certs", "certificates in use", Access::Reads, |admin, _, _| certs::answer(admin)),
    ("/clusters", "clusters and their hosts (?format=json)", Access::Reads, |admin, query, _| {
        clusters::answer(admin, query)
    }),
    (
        "/config_dump",
        "configuration in force (?resource=, ?mask=, ?name_regex=, ?include_eds)",
        Access::Reads,
        |admin, query, _| config_dump::answer(admin, query),
    ),
    (
        "/drain_listeners",
        "stop accepting connections (?graceful, ?inboundonly)",
        Access::Changes,
        |admin, query, _| health::drain(admin, query),
    ),
    ("/healthcheck/fail", "make health checks fail", Access::Changes, |admin, _, _| {
        health::set(admin, false)
    }),
    ("/healthcheck/ok", "make health checks succeed again", Access::Changes, |admin, _, _| {
        health::set(admin, true)
    }),
    ("/help", "this list as text", Access::Reads, |_, _, _| index::text()),
    ("/hot_restart_version", "always \"disabled\"", Access::Reads, |_, _, _| Answer::text("disabled\n")),
    ("/listeners", "addresses listened on (?format=json)", Access::Reads, |admin, query, _| {
        listeners::answer(admin, query)
    }),
    (
        "/logging",
        "log levels; POST ?level= or ?paths=scope:level or ?scope=level changes them",
        Access::Reads,
        { |_, query, post| logging::answer(query, post) },
    ),
    ("/memory", "memory of the process", Access::Reads, |_, _, _| server_info::memory()),
    ("/quitquitquit", "end the process", Access::Changes, |admin, _, _| health::quit(admin)),
    ("/ready", "200 when ready to serve, else 503", Access::Reads, |admin, _, _| health::ready(admin)),
    ("/reopen_logs", "open access-log files again", Access::Changes, |admin, _, _| {
        admin.sinks.reopen();
        Answer::text("OK\n")
    }),
    ("/reset_counters", "set all counters to zero", Access::Changes, |admin, _, _| {
        admin.stats.reset_counters();
        Answer::text("OK\n")
    }),
    ("/runtime", "runtime values: none are supported", Access::Reads, |_, _, _| {
        Answer::json(&serde_json::json!({"layers": [], "entries": {}}))
    }),
    ("/server_info", "version, state and options of the process", Access::Reads, |admin, _, _| {
        server_info::answer(admin)
    }),
    (
        "/stats",
        "statistics (?filter=, ?usedonly, ?type=, ?format=json|prometheus)",
        Access::Reads,
        |admin, query, _| stats::answer(admin, query),
    ),
    (
        "/stats/prometheus",
        "statistics for Prometheus (?usedonly, ?filter=)",
        Access::Reads,
        |admin, query, _| stats::prometheus(admin, query),
    ),
];

impl Admin {
    /// Answers one request.
    pub fn answer(&self, method: &Method, path_and_query: &str) -> Answer {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let Some((_, _, access, handler)) = PATHS.iter().find(|(known, ..)| *known == path) else {
            return index::unknown(path);
        };
        let post = method == Method::POST;
        if !post && method != Method::GET && method != Method::HEAD {
            return Answer::problem(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is not supported, use GET or POST"),
            );
        }
        if *access == Access::Changes && !post {
            return Answer::problem(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} not allowed: POST {path} changes the process"),
            );
        }
        handler(self, &Query::parse(query), post)
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin")
    }
}
