//! Access logs: Envoy's formats compiled once, lines written by a thread of their own.

mod compile;
mod duration;
mod filter;
mod format;
mod json;
mod operator;
mod parse;
mod sink;
mod time;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use format::Text;
pub use sink::Sinks;

use super::info::LogContext;
use filter::Filter;
use format::Format;
use sink::Sink;

/// The access logs of one listener or connection manager.
#[derive(Debug, Default)]
pub struct AccessLogs {
    logs: Box<[Log]>,
}

/// One access log: when, what, where to.
#[derive(Debug)]
struct Log {
    filter: Option<Filter>,
    format: Format,
    sink: Arc<Sink>,
}

impl AccessLogs {
    /// Whether there is nothing to log to.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Writes one line to every log whose filter lets it pass.
    pub fn log(&self, context: &LogContext<'_>) {
        for log in &self.logs {
            if log.filter.as_ref().is_none_or(|filter| filter.passes(context)) {
                log.sink.append(|line| log.format.write(line, context));
            }
        }
    }
}
