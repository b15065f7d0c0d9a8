//! `sleep`: a pod to run commands in. Ends after the given time, or when told to stop.

use std::time::Duration;

use anyhow::Context as _;

/// Sleeps `args[0]` seconds (`10`, `1.5`, `2m`, `1h`, `1d`, `infinity`), for ever without arguments.
pub async fn run(args: &[String]) -> anyhow::Result<()> {
    let length = match args.first() {
        Some(text) => parse(text)?,
        None => Duration::MAX,
    };
    tokio::select! { () = crate::serve::stopped() => {}, () = tokio::time::sleep(length) => {} }
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Duration> {
    if matches!(text, "infinity" | "inf") {
        return Ok(Duration::MAX);
    }
    let unit = text.chars().last().filter(|c| c.is_ascii_alphabetic());
    let number = unit.map_or(text, |_| &text[..text.len() - 1]);
    let factor = match unit {
        None | Some('s') => 1.0,
        Some('m') => 60.0,
        Some('h') => 3600.0,
        Some('d') => 86_400.0,
        Some(other) => anyhow::bail!("unknown unit {other:?} in {text:?}; use s, m, h or d"),
    };
    let seconds: f64 = number.parse().with_context(|| format!("{text:?} is no time to sleep; try 3650d"))?;
    Duration::try_from_secs_f64(seconds * factor).with_context(|| format!("cannot sleep for {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse("1.5").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse("3650d").unwrap(), Duration::from_secs(3650 * 86_400));
        assert_eq!(parse("infinity").unwrap(), Duration::MAX);
        for bad in ["", "x", "-1", "5y"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
