//! Durations as users write them: `10s`, `1.5h`, `100ms`, `1m30s`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A signed span of time with nanoseconds. Reads Go's notation and proto-JSON's (`1.5s`), writes Go's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Duration {
    nanos: i128,
}

/// The longest span that google.protobuf.Duration can hold: about 10,000 years.
const MAX_SECONDS: i128 = 315_576_000_000;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration; write a number with a unit, such as \"10s\", \"500ms\" or \"1h30m\"")]
pub struct DurationError {
    text: String,
}

impl Duration {
    /// Zero.
    pub const ZERO: Self = Self { nanos: 0 };

    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self { nanos: seconds as i128 * 1_000_000_000 }
    }

    /// Milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self { nanos: millis as i128 * 1_000_000 }
    }

    /// Nanoseconds, which may be negative.
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// The standard library's duration; a negative span becomes zero.
    pub fn to_std(self) -> time::Duration {
        let nanos = self.nanos.max(0);
        time::Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    }

    /// Whole seconds, cut towards zero.
    pub fn seconds(self) -> i64 {
        (self.nanos / 1_000_000_000) as i64
    }

    /// The proto message.
    pub fn to_proto(self) -> meltemi_proto::google::protobuf::Duration {
        meltemi_proto::google::protobuf::Duration {
            seconds: self.seconds(),
            nanos: (self.nanos % 1_000_000_000) as i32,
        }
    }
}

impl From<time::Duration> for Duration {
    fn from(value: time::Duration) -> Self {
        Self { nanos: value.as_nanos() as i128 }
    }
}

impl From<Duration> for time::Duration {
    fn from(value: Duration) -> Self {
        value.to_std()
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let error = || DurationError { text: text.chars().take(64).collect() };
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() || unsigned.len() > 64 {
            return Err(error());
        }
        let mut rest = unsigned;
        let mut nanos = 0i128;
        while !rest.is_empty() {
            let (part, after) = next_part(rest).ok_or_else(error)?;
            nanos = nanos.checked_add(part).ok_or_else(error)?;
            rest = after;
        }
        if nanos > MAX_SECONDS * 1_000_000_000 {
            return Err(error());
        }
        Ok(Self { nanos: if negative { -nanos } else { nanos } })
    }
}

/// Reads one `number unit` and returns its nanoseconds and what follows.
fn next_part(text: &str) -> Option<(i128, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(digits);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let scale: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 {
        return None;
    }
    let mut nanos = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(scale)? };
    let mut unit = scale;
    for digit in fraction.bytes() {
        unit /= 10;
        nanos += i128::from(digit - b'0') * unit;
    }
    Some((nanos, rest))
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        if rest == 0 {
            return write!(f, "{sign}{seconds}s");
        }
        if seconds == 0 && rest % 1_000_000 == 0 {
            return write!(f, "{sign}{}ms", rest / 1_000_000);
        }
        let fraction = format!("{rest:09}");
        write!(f, "{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-duration": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_and_proto_notation() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            (".5s", 500_000_000),
            ("-2s", -2_000_000_000),
            ("3us", 3_000),
            ("1.000000001s", 1_000_000_001),
        ] {
            assert_eq!(text.parse::<Duration>().map(Duration::nanos), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn rejects_what_is_no_duration() {
        for text in
            ["", "10", "s", "1 s", "1d", "1s2", "1..5s", "ten", "9999999999999999999h", ".s", "--1s", "1sec"]
        {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (text, written) in
            [("1500ms", "1.5s"), ("1m", "60s"), ("100ms", "100ms"), ("-1ms", "-1ms"), ("0", "0s")]
        {
            let value: Duration = text.parse().expect("valid");
            assert_eq!(value.to_string(), written);
            assert_eq!(written.parse(), Ok(value));
        }
    }
}
