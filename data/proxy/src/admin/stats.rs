//! `/stats` and `/stats/prometheus`.

use http::StatusCode;
use regex_automata::meta::Regex;

use super::query::Query;
use super::server_info::Memory;
use super::{Admin, Answer};
use crate::telemetry::stats::render::{self, Selection, Shown};
use crate::telemetry::stats::tables::ServerStats;

pub(super) fn answer(admin: &Admin, query: &Query) -> Answer {
    let selection = match selection(query) {
        Ok(selection) => selection,
        Err(why) => return Answer::problem(StatusCode::BAD_REQUEST, why),
    };
    let _server = refreshed(admin);
    let samples = || selection.of(&admin.stats);
    match query.get("format").unwrap_or("text") {
        "text" | "" => Answer::text(render::text(&samples())),
        "json" => Answer::json(&render::json(&samples())),
        "prometheus" => Answer::text(render::prometheus(samples())),
        "html" => Answer::text(render::text(&samples())),
        other => Answer::problem(
            StatusCode::BAD_REQUEST,
            format!("format {other:?}: expected text, json or prometheus"),
        ),
    }
}

pub(super) fn prometheus(admin: &Admin, query: &Query) -> Answer {
    let _server = refreshed(admin);
    match selection(query) {
        Ok(selection) => Answer::text(render::prometheus(selection.of(&admin.stats))),
        Err(why) => Answer::problem(StatusCode::BAD_REQUEST, why),
    }
}

fn selection(query: &Query) -> Result<Selection, String> {
    let filter = query.get("filter").filter(|filter| !filter.is_empty());
    let filter =
        filter.map(|text| Regex::new(text).map_err(|e| format!("filter {text:?}: {e}"))).transpose()?;
    let kind = match query.get("type") {
        None | Some("" | "All") => None,
        Some("Counters") => Some(Shown::Counters),
        Some("Gauges") => Some(Shown::Gauges),
        Some("Histograms") => Some(Shown::Histograms),
        Some(other) => return Err(format!("type {other:?}: expected All, Counters, Gauges or Histograms")),
    };
    Ok(Selection { filter, used_only: query.flag("usedonly"), kind })
}

/// Sets the gauges that nobody keeps up to date, as they are dear to know and only read here. They are shown as long as the value
/// lives.
fn refreshed(admin: &Admin) -> ServerStats {
    let server = ServerStats::new(&admin.stats, "server.");
    let memory = Memory::read();
    server.memory_allocated().set(memory.resident);
    server.memory_physical_size().set(memory.resident);
    server.memory_heap_size().set(memory.heap);
    let certificates = admin.certificates.certificates();
    let days = certificates.iter().flat_map(|c| &c.cert_chain).map(|details| details.days_until_expiration);
    server.days_until_first_cert_expiring().set(days.min().unwrap_or(u64::from(u32::MAX)));
    server
}
