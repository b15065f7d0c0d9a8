//! A line: time, level, scope, message, separated by tabs; or the same as JSON.

use std::fmt::{self, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

pub(super) struct Istio {
    pub(super) json: bool,
}

impl<S, N> FormatEvent<S, N> for Istio
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = format!("{:.6}", jiff::Timestamp::now());
        let level = meta.level().as_str().to_ascii_lowercase();
        let line = Line { time, level, scope: scope(meta.target()), fields };
        if self.json { writeln!(out, "{}", line.json()) } else { writeln!(out, "{}", line.text()) }
    }
}

/// `meltemi_xds::client` → `xds`.
fn scope(target: &str) -> &str {
    let name = target.strip_prefix("meltemi_").unwrap_or(target);
    name.split_once("::").map_or(name, |(scope, _)| scope)
}

struct Line<'a> {
    time: String,
    level: String,
    scope: &'a str,
    fields: Fields,
}

impl Line<'_> {
    fn text(&self) -> String {
        let mut text = format!("{}\t{}\t{}\t{}", self.time, self.level, self.scope, self.fields.message);
        for (name, value) in &self.fields.others {
            let value = match value {
                Value::String(value) => value.clone(),
                other => other.to_string(),
            };
            // Writing to a string cannot fail.
            let _ = if value.contains([' ', '\t', '\n', '"']) || value.is_empty() {
                write!(text, " {name}={value:?}")
            } else {
                write!(text, " {name}={value}")
            };
        }
        text
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("level".into(), self.level.clone().into());
        map.insert("time".into(), self.time.clone().into());
        map.insert("scope".into(), self.scope.into());
        map.insert("msg".into(), self.fields.message.clone().into());
        map.extend(self.fields.others.iter().map(|(name, value)| (name.to_string(), value.clone())));
        Value::Object(map)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        let others = vec![("n", Value::from(3)), ("why", Value::from("a b"))];
        let fields = Fields { message: "hello".into(), others };
        Line { time: "2026-01-01T00:00:00.000000Z".into(), level: "info".into(), scope: "xds", fields }
    }

    #[test]
    fn lines_have_istios_shape() {
        assert_eq!(line().text(), "2026-01-01T00:00:00.000000Z\tinfo\txds\thello n=3 why=\"a b\"");
        assert_eq!(
            line().json().to_string(),
            r#"{"level":"info","time":"2026-01-01T00:00:00.000000Z","scope":"xds","msg":"hello","n":3,"why":"a b"}"#
        );
    }

    #[test]
    fn scopes_are_crates_or_targets() {
        assert_eq!(scope("meltemi_xds::client::run"), "xds");
        assert_eq!(scope("access"), "access");
        assert_eq!(scope("hyper::proto"), "hyper");
    }
}
