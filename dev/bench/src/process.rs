//! Processes that are pinned to a core, and what the kernel says of them.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// How long a process may take until it listens.
const START: Duration = Duration::from_secs(20);
/// `USER_HZ`: what `/proc/PID/stat` counts in; the kernel's interface fixes it.
const TICKS: f64 = 100.0;

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub struct Pinned(Child);

impl Pinned {
    /// Starts a program on one core. What it logs goes to a file.
    pub fn start(core: usize, program: &Path, arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let child = on_core(core, program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {} (by taskset)", program.display()))?;
        Ok(Self(child))
    }

    /// What a reader of `/proc` needs.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody listens at an address.
pub fn listens(address: SocketAddr) -> anyhow::Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(begin.elapsed() < START, "nothing listens on {address} after {START:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A command that runs on one core. `taskset` becomes the program, so that its process id is the program's.
pub fn on_core(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program);
    command
}

/// Seconds of CPU that a process has used, in user and system mode.
pub fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks(&text)
        .map(|ticks| ticks / TICKS)
        .with_context(|| format!("unexpected /proc/{process}/stat: {text}"))
}

/// User and system ticks. The name of the program, in brackets, may hold anything; the fields count from behind it.
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of a process, in MB.
pub fn resident_mb(process: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    resident(&text).with_context(|| format!("/proc/{process}/status has no VmRSS"))
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_counted_behind_the_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("42 (a) S"), None);
    }

    #[test]
    fn memory_is_read_in_megabytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2.0));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
