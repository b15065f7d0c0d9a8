//! The schedules of CronJobs: five fields, or a name for them.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Names for usual schedules.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// When something is due, again and again.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Reads a schedule and the name of the time zone it means (UTC when there is none).
    ///
    /// # Errors
    /// A sentence on what is wrong with either.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let zone = match zone.filter(|name| !name.is_empty()) {
            Some(name) => time_zone(name)?,
            None => TimeZone::UTC,
        };
        let fields = match NAMES.iter().find(|(name, _)| *name == text) {
            Some((_, fields)) => fields,
            None if text.starts_with('@') => return Err(format!("unrecognized descriptor: {text}")),
            None => text,
        };
        let count = fields.split_whitespace().count();
        if count != 5 {
            return Err(format!("expected exactly 5 fields, found {count}: [{text}]"));
        }
        // The parser knows more than Kubernetes does: last days, nearest weekdays.
        if let Some(word) = fields.split(|c: char| !c.is_ascii_alphabetic()).find(|word| word.len() % 3 != 0)
        {
            return Err(format!("failed to parse {word:?}: names have three letters: [{text}]"));
        }
        if let Some(sign) = fields.chars().find(|c| !c.is_ascii_alphanumeric() && !"*?/,- \t".contains(*c)) {
            return Err(format!("unexpected {sign:?}: [{text}]"));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        let cron = parser.parse(fields).map_err(|error| format!("{error}: [{text}]"))?;
        Ok(Self { cron, zone })
    }

    /// When it is due next, after a time; `None` when never again.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let from = Timestamp::from_second(after.as_second()).ok()?.to_zoned(self.zone.clone());
        Some(self.cron.find_next_occurrence(&from, false).ok()?.timestamp())
    }

    /// When it was due last, at a time or before it.
    pub fn last(&self, until: Timestamp) -> Option<Timestamp> {
        let until = Timestamp::from_second(until.as_second()).ok()?.to_zoned(self.zone.clone());
        Some(self.cron.find_previous_occurrence(&until, true).ok()?.timestamp())
    }
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    if name.eq_ignore_ascii_case("local") {
        return Err("time zone must be an explicit one, as in \"Etc/UTC\"".into());
    }
    TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn schedules_say_when() {
        for (text, zone, after, next, last) in [
            ("*/5 * * * *", None, "2026-03-01T10:03:20Z", "2026-03-01T10:05:00Z", "2026-03-01T10:00:00Z"),
            ("*/5 * * * *", None, "2026-03-01T10:05:00Z", "2026-03-01T10:10:00Z", "2026-03-01T10:05:00Z"),
            ("@hourly", None, "2026-03-01T10:03:20Z", "2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z"),
            (
                "0 12 * * MON-FRI",
                None,
                "2026-03-06T12:00:00Z",
                "2026-03-09T12:00:00Z",
                "2026-03-06T12:00:00Z",
            ),
            // A day of the month and a day of the week: either.
            ("0 0 13 * FRI", None, "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z", "2026-10-30T00:00:00Z"),
            (
                "30 8 * * *",
                Some("Asia/Tokyo"),
                "2026-03-01T00:00:00Z",
                "2026-03-01T23:30:00Z",
                "2026-02-28T23:30:00Z",
            ),
        ] {
            let schedule = Schedule::parse(text, zone).unwrap();
            assert_eq!(schedule.next(at(after)), Some(at(next)), "{text}");
            assert_eq!(schedule.last(at(after)), Some(at(last)), "{text}");
        }
    }

    #[test]
    fn what_kubernetes_refuses() {
        for (text, zone, error) in [
            ("* * * *", None, "expected exactly 5 fields, found 4: [* * * *]"),
            ("* * * * * *", None, "expected exactly 5 fields, found 6"),
            ("@often", None, "unrecognized descriptor: @often"),
            ("0 0 L * *", None, "failed to parse \"L\""),
            ("0 0 * * MON#2", None, "unexpected '#'"),
            ("61 * * * *", None, "[61 * * * *]"),
            ("* * * * *", Some("Mars/Olympus"), "unknown time zone Mars/Olympus"),
        ] {
            let found = Schedule::parse(text, zone).unwrap_err();
            assert!(found.contains(error), "{text}: {found}");
        }
    }
}
