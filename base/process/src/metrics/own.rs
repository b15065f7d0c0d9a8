//! `process_*`: what every Prometheus client tells of its own process.

use std::fmt::Write;
use std::fs;

/// Fields of `/proc/self/stat`, counted from the one after the command name.
mod field {
    pub const UTIME: usize = 11;
    pub const STIME: usize = 12;
    pub const VSIZE: usize = 20;
    pub const RSS_PAGES: usize = 21;
}

/// The kernel's USER_HZ; fixed for user space on all architectures that Linux runs on in servers.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn append(text: &mut String) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|line| Stat::parse(&line)) {
        put(text, "process_cpu_seconds_total", "counter", stat.cpu_seconds);
        put(text, "process_virtual_memory_bytes", "gauge", stat.virtual_bytes);
        put(text, "process_resident_memory_bytes", "gauge", stat.resident_bytes);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        put(text, "process_open_fds", "gauge", entries.count().saturating_sub(1) as f64);
    }
}

fn put(text: &mut String, name: &str, kind: &str, value: f64) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
}

struct Stat {
    cpu_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The command name stands in parentheses and may hold anything, even parentheses.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (number(field::UTIME)? + number(field::STIME)?) / TICKS_PER_SECOND,
            virtual_bytes: number(field::VSIZE)?,
            resident_bytes: number(field::RSS_PAGES)? * page_size(),
        })
    }
}

#[allow(unsafe_code)]
fn page_size() -> f64 {
    // SAFETY: sysconf reads a constant and touches no memory of ours.
    (unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) as f64
}
