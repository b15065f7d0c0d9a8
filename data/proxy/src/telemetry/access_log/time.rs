//! `%START_TIME%` and its kin.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::reject::{Compiled, Reject};

/// How a moment is written, always in UTC.
#[derive(Clone, Debug)]
pub(super) enum TimeFormat {
    /// `2026-01-31T12:00:00.000Z`
    Default,
    /// A format of the user's.
    Custom(String),
}

thread_local! {
    /// The second written last, and its text: most lines of a busy worker share their second.
    static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

impl TimeFormat {
    /// Compiles Envoy's format: `strftime` with `%f`, `%3f`, `%E3S` for fractions of a second.
    pub(super) fn compile(format: Option<&str>) -> Compiled<Self> {
        let Some(format) = format.filter(|format| !format.is_empty()) else { return Ok(TimeFormat::Default) };
        let ours = translate(format);
        jiff::fmt::strtime::format(&ours, &jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC))
            .map_err(|error| Reject::new("", format!("time format {format:?}: {error}")))?;
        Ok(TimeFormat::Custom(ours))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, moment: SystemTime) {
        match self {
            TimeFormat::Default => default(out, moment),
            TimeFormat::Custom(format) => {
                let Ok(stamp) = jiff::Timestamp::try_from(moment) else { return };
                let text = jiff::fmt::strtime::format(format, &stamp.to_zoned(jiff::tz::TimeZone::UTC));
                out.extend_from_slice(text.unwrap_or_default().as_bytes());
            }
        }
    }
}

fn translate(format: &str) -> String {
    let mut ours = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        ours.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = |text: &str| text.chars().next().filter(|c| ('1'..='9').contains(c));
        match (rest.strip_prefix('E'), digits(rest)) {
            (Some(after), _) if digits(after).is_some() && after[1..].starts_with('S') => {
                ours.push_str(&format!("%S%.{}f", &after[..1]));
                rest = &after[2..];
            }
            (None, None) if rest.starts_with('f') => {
                ours.push_str("%9f");
                rest = &rest[1..];
            }
            _ => {
                ours.push('%');
                // A second percent sign belongs to this one.
                let width = rest.chars().next().map_or(0, char::len_utf8);
                ours.push_str(&rest[..width]);
                rest = &rest[width..];
            }
        }
    }
    ours.push_str(rest);
    ours
}

fn default(out: &mut Vec<u8>, moment: SystemTime) {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            let stamp = i64::try_from(*second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
            *text = stamp.map(|s| s.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default();
        }
        out.extend_from_slice(text.as_bytes());
    });
    let millis = since.subsec_millis();
    let digit = |n: u32| b'0' + u8::try_from(n % 10).unwrap_or(0);
    out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn show(format: Option<&str>) -> String {
        let mut out = Vec::new();
        let moment = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_012_345_678);
        TimeFormat::compile(format).unwrap().write(&mut out, moment);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats_of_envoys_documentation() {
        assert_eq!(show(None), "2023-11-14T22:13:20.012Z");
        assert_eq!(show(Some("%Y/%m/%dT%H:%M:%S%z %s")), "2023/11/14T22:13:20+0000 1700000000");
        assert_eq!(show(Some("%s.%3f")), "1700000000.012");
        assert_eq!(show(Some("%E3S %f 100%%")), "20.012 012345678 100%");
    }

    #[test]
    fn a_wrong_format_is_named() {
        assert!(TimeFormat::compile(Some("%!")).unwrap_err().to_string().contains("%!"));
    }
}
