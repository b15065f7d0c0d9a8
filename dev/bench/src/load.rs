//! The load generator: `h2load` of Debian's `nghttp2-client`, and what it reports.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use crate::process::on_core;

/// What is spoken on both sides of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive, one request at a time on a connection.
    Http1,
    /// HTTP/2 without TLS, [`STREAMS`] requests at a time on a connection.
    Http2,
}

/// Concurrent streams of an HTTP/2 connection.
pub const STREAMS: usize = 4;

impl Protocol {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// One run of load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// What is spoken.
    pub protocol: Protocol,
    /// How many connections.
    pub connections: usize,
    /// Requests a second on each connection; `None` is as many as are answered.
    pub rate: Option<usize>,
    /// How long.
    pub seconds: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Requests that were answered with 2xx.
    pub answered: u64,
    /// The median time of an answer, in milliseconds.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// Puts load on a port of this machine. `log` is overwritten with a line for each request.
pub fn run(load: Load, core: usize, port: u16, log: &Path) -> anyhow::Result<Outcome> {
    // h2load appends.
    let _ = std::fs::remove_file(log);
    let mut command = on_core(core, Path::new("h2load"));
    command.arg(format!("--clients={}", load.connections)).arg(format!("--duration={}", load.seconds));
    match load.protocol {
        Protocol::Http1 => command.arg("--h1"),
        Protocol::Http2 => command.arg(format!("--max-concurrent-streams={STREAMS}")),
    };
    if let Some(rate) = load.rate {
        command.arg(format!("--rps={rate}"));
    }
    command.arg(format!("--log-file={}", log.display())).arg(format!("http://127.0.0.1:{port}/"));
    let output = command.output().context("cannot run h2load; install Debian's nghttp2-client")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    read(&std::fs::read_to_string(log)?)
        .with_context(|| format!("{} on {} connections", load.protocol.name(), load.connections))
}

/// Reads h2load's log: start in µs, status, µs until the end of the answer.
fn read(log: &str) -> anyhow::Result<Outcome> {
    let mut times = Vec::new();
    let mut refused = 0_u64;
    for line in log.lines() {
        let mut columns = line.split('\t').skip(1);
        let (status, micros) = (columns.next().unwrap_or(""), columns.next().unwrap_or(""));
        // A stream that the end of the run cut off is -1.
        match status {
            "-1" => {}
            "200" => times.push(micros.parse::<u64>().with_context(|| format!("h2load's log: {line}"))?),
            _ => refused += 1,
        }
    }
    if times.is_empty() || refused > 0 {
        bail!("{} answers of status 200 and {refused} of another", times.len());
    }
    times.sort_unstable();
    Ok(Outcome { answered: times.len() as u64, p50: quantile(&times, 0.5), p99: quantile(&times, 0.99) })
}

/// A quantile of sorted µs, in ms.
fn quantile(sorted: &[u64], q: f64) -> f64 {
    let index = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_cut_off_streams_left_out() {
        let log = "1\t200\t3000\n2\t200\t1000\n3\t200\t2000\n4\t-1\t9\n";
        let outcome = read(log).unwrap();
        assert_eq!((outcome.answered, outcome.p50, outcome.p99), (3, 2.0, 3.0));
    }

    #[test]
    fn a_run_with_errors_measures_nothing() {
        assert!(read("1\t200\t3000\n2\t503\t10\n").unwrap_err().to_string().contains("1 of another"));
        assert!(read("").is_err());
    }
}
