//! Where lines go. A worker appends to a buffer of its own; one thread writes all buffers out.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::stats::cells::slot;

/// How long lines are gathered before they are written, so that a busy proxy writes seldom.
const GATHER: Duration = Duration::from_millis(50);
/// The most bytes one worker may have waiting for a slow file; further lines are dropped and counted.
const LIMIT: usize = 4 << 20;

/// All files that access logs write to. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Sinks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: usize,
    open: Mutex<HashMap<String, Weak<Sink>>>,
    alarm: Arc<Alarm>,
}

/// Wakes the writer.
#[derive(Debug, Default)]
struct Alarm {
    raised: AtomicBool,
    writer: OnceLock<Thread>,
}

/// One destination.
#[derive(Debug)]
pub(super) struct Sink {
    path: String,
    /// One a worker: locked by it and, for the moment of a swap, by the writer. So the lock is practically never contended.
    buffers: Box<[Mutex<Lines>]>,
    output: Mutex<Output>,
    alarm: Arc<Alarm>,
    dropped: AtomicU64,
}

/// Lines of one worker, and when each was finished: the writer puts the lines of all workers in order.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    ends: Vec<(Instant, usize)>,
}

#[derive(Debug)]
enum Output {
    Stdout,
    Stderr,
    File(File),
}

impl Sinks {
    /// Destinations for logs of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Sinks(Arc::new(Shared { slots: workers + 1, open: Mutex::default(), alarm: Arc::default() }))
    }

    /// The destination at `path`, opened or found open.
    pub(super) fn open(&self, path: &str) -> io::Result<Arc<Sink>> {
        let mut open = self.0.open.lock();
        if let Some(sink) = open.get(path).and_then(Weak::upgrade) {
            return Ok(sink);
        }
        let sink = Arc::new(Sink {
            path: path.to_owned(),
            buffers: (0..self.0.slots).map(|_| Mutex::default()).collect(),
            output: Mutex::new(Output::open(path)?),
            alarm: self.0.alarm.clone(),
            dropped: AtomicU64::new(0),
        });
        open.insert(path.to_owned(), Arc::downgrade(&sink));
        drop(open);
        self.start_writer()?;
        Ok(sink)
    }

    /// Writes out all that is waiting, before the process ends.
    pub fn flush(&self) {
        self.each(Sink::flush);
    }

    /// Opens all files again under their names (log rotation).
    pub fn reopen(&self) {
        self.each(Sink::reopen);
    }

    fn each(&self, act: impl Fn(&Sink)) {
        let sinks: Vec<_> = self.0.open.lock().values().filter_map(Weak::upgrade).collect();
        sinks.iter().for_each(|sink| act(sink));
    }

    fn start_writer(&self) -> io::Result<()> {
        if self.0.alarm.writer.get().is_some() {
            return Ok(());
        }
        let shared = Arc::downgrade(&self.0);
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || run(&shared))?;
        // Should two callers race here, a second writer does no harm.
        let _ = self.0.alarm.writer.set(thread.thread().clone());
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.alarm.ring();
    }
}

fn run(shared: &Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let sinks = Sinks(strong);
        sinks.0.alarm.raised.store(false, Ordering::SeqCst);
        sinks.flush();
        sinks.0.open.lock().retain(|_, sink| sink.strong_count() > 0);
        let alarm = sinks.0.alarm.clone();
        drop(sinks);
        while !alarm.raised.load(Ordering::SeqCst) && shared.strong_count() > 0 {
            thread::park_timeout(Duration::from_secs(5));
        }
        thread::sleep(GATHER);
    }
}

impl Alarm {
    fn ring(&self) {
        let first = !self.raised.load(Ordering::Relaxed) && !self.raised.swap(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.get().filter(|_| first) {
            writer.unpark();
        }
    }
}

impl Sink {
    /// Lets `write` append one line.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(buffer) = self.buffers.get(slot()).or_else(|| self.buffers.first()) else { return };
        let mut buffer = buffer.lock();
        if buffer.text.len() >= LIMIT {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            write(&mut buffer.text);
            let end = buffer.text.len();
            buffer.ends.push((Instant::now(), end));
        }
        drop(buffer);
        self.alarm.ring();
    }

    fn flush(&self) {
        let mut output = self.output.lock();
        let taken: Vec<Lines> = self.buffers.iter().filter_map(Lines::take).collect();
        if !taken.is_empty()
            && let Err(error) = output.write_all(&merged(&taken))
        {
            tracing::warn!(path = self.path, %error, "access log cannot be written");
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(
                path = self.path,
                lines = dropped,
                "access log lines dropped: the destination is too slow"
            );
        }
    }

    fn reopen(&self) {
        self.flush();
        match Output::open(&self.path) {
            Ok(output) => *self.output.lock() = output,
            Err(error) => tracing::warn!(path = self.path, %error, "access log cannot be reopened"),
        }
    }
}

impl Lines {
    /// Takes what is there; the worker goes on with a buffer of the size it was using.
    fn take(buffer: &Mutex<Self>) -> Option<Self> {
        let mut buffer = buffer.lock();
        if buffer.ends.is_empty() {
            return None;
        }
        let text = Vec::with_capacity(buffer.text.len().min(64 << 10));
        let ends = Vec::with_capacity(buffer.ends.len().min(1 << 10));
        Some(std::mem::replace(&mut *buffer, Lines { text, ends }))
    }
}

/// The lines of all workers in the order in which they were finished.
fn merged(taken: &[Lines]) -> Vec<u8> {
    let lines = taken.iter().flat_map(|lines| {
        let mut start = 0;
        lines.ends.iter().map(move |(moment, end)| {
            let line = lines.text.get(start..*end).unwrap_or_default();
            start = *end;
            (*moment, line)
        })
    });
    let mut lines: Vec<_> = lines.collect();
    // Runs of one worker are in order already, which makes this a merge.
    lines.sort_by_key(|(moment, _)| *moment);
    let mut all = Vec::with_capacity(taken.iter().map(|lines| lines.text.len()).sum());
    lines.into_iter().for_each(|(_, line)| all.extend_from_slice(line));
    all
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Output {
    fn open(path: &str) -> io::Result<Self> {
        match path {
            "/dev/stdout" => Ok(Output::Stdout),
            "/dev/stderr" => Ok(Output::Stderr),
            path => Ok(Output::File(OpenOptions::new().append(true).create(true).open(Path::new(path))?)),
        }
    }

    fn write_all(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Output::Stderr => io::stderr().lock().write_all(lines),
            Output::File(file) => file.write_all(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_workers_are_in_order() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let one = Lines { text: b"a\nd\n".to_vec(), ends: vec![(at(1), 2), (at(4), 4)] };
        let two = Lines { text: b"b\ncc\n".to_vec(), ends: vec![(at(2), 2), (at(3), 5)] };
        assert_eq!(merged(&[one, two]), b"a\nb\ncc\nd\n");
    }
}
