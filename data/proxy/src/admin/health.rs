//! Readiness, health checks and the end of the process.

use http::StatusCode;
use meltemi_proto::envoy::admin::v3::server_info::State;

use super::query::Query;
use super::{Admin, Answer};

pub(super) fn ready(admin: &Admin) -> Answer {
    match admin.lifecycle.state() {
        State::Live => Answer::text("LIVE\n"),
        state => Answer::problem(StatusCode::SERVICE_UNAVAILABLE, state.as_str_name()),
    }
}

pub(super) fn set(admin: &Admin, healthy: bool) -> Answer {
    admin.lifecycle.set_healthy(healthy);
    Answer::text("OK\n")
}

pub(super) fn drain(admin: &Admin, query: &Query) -> Answer {
    admin.listeners.drain(query.flag("graceful"), query.flag("inboundonly"));
    Answer::text("OK\n")
}

pub(super) fn quit(admin: &Admin) -> Answer {
    admin.lifecycle.quit();
    Answer::text("OK\n")
}
