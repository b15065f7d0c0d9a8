//! Durations between two moments of a request.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::reject::{Compiled, Reject};
use crate::telemetry::info::RequestInfo;

/// A moment of a request, with the name that `%COMMON_DURATION%` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// `DS_RX_BEG`
    RequestStart,
    /// `DS_RX_END`
    RequestEnd,
    /// `US_TX_BEG`
    UpstreamRequestStart,
    /// `US_TX_END`
    UpstreamRequestEnd,
    /// `US_RX_BEG`
    UpstreamResponseStart,
    /// `US_RX_END`
    UpstreamResponseEnd,
    /// `DS_TX_BEG`
    ResponseStart,
    /// `DS_TX_END`
    ResponseEnd,
}

impl Moment {
    fn parse(name: &str) -> Compiled<Self> {
        Ok(match name {
            "DS_RX_BEG" => Moment::RequestStart,
            "DS_RX_END" => Moment::RequestEnd,
            "US_TX_BEG" => Moment::UpstreamRequestStart,
            "US_TX_END" => Moment::UpstreamRequestEnd,
            "US_RX_BEG" => Moment::UpstreamResponseStart,
            "US_RX_END" => Moment::UpstreamResponseEnd,
            "DS_TX_BEG" => Moment::ResponseStart,
            "DS_TX_END" => Moment::ResponseEnd,
            other => {
                let known = "DS_RX_BEG, DS_RX_END, US_TX_BEG, US_TX_END, US_RX_BEG, US_RX_END, DS_TX_BEG or DS_TX_END";
                return Err(Reject::new("", format!("COMMON_DURATION: {other:?} is not one of {known}")));
            }
        })
    }

    fn of(self, info: &RequestInfo) -> Option<Instant> {
        let timings = &info.timings;
        match self {
            Moment::RequestStart => Some(info.start),
            Moment::RequestEnd => timings.request_end,
            Moment::UpstreamRequestStart => timings.upstream_request_start,
            Moment::UpstreamRequestEnd => timings.upstream_request_end,
            Moment::UpstreamResponseStart => timings.upstream_response_start,
            Moment::UpstreamResponseEnd => timings.upstream_response_end,
            Moment::ResponseStart => timings.response_start,
            Moment::ResponseEnd => timings.response_end,
        }
    }
}

/// A duration between two moments in some unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    from: Moment,
    to: Moment,
    unit: Unit,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Span {
    /// Milliseconds between two moments.
    pub(super) const fn millis(from: Moment, to: Moment) -> Self {
        Span { from, to, unit: Unit::Millis }
    }

    /// `from:to:ms|us|ns`
    pub(super) fn compile(arguments: &str) -> Compiled<Self> {
        let parts: Vec<_> = arguments.split(':').collect();
        let [from, to, unit] = parts.as_slice() else {
            return Err(Reject::new("", "COMMON_DURATION needs (from:to:ms|us|ns)"));
        };
        let unit = match *unit {
            "ms" => Unit::Millis,
            "us" => Unit::Micros,
            "ns" => Unit::Nanos,
            other => {
                return Err(Reject::new("", format!("COMMON_DURATION: unit {other:?} is not ms, us or ns")));
            }
        };
        Ok(Span { from: Moment::parse(from)?, to: Moment::parse(to)?, unit })
    }

    /// The value, if both moments were reached.
    pub(super) fn of(self, info: &RequestInfo) -> Option<u64> {
        let duration: Duration = self.to.of(info)?.checked_duration_since(self.from.of(info)?)?;
        let value = match self.unit {
            Unit::Millis => duration.as_millis(),
            Unit::Micros => duration.as_micros(),
            Unit::Nanos => duration.as_nanos(),
        };
        u64::try_from(value).ok()
    }
}
