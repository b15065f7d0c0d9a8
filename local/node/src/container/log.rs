//! A container's output: lines with time and stream in a file, and the raw bytes for those who are attached.

mod attached;
mod render;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};

use attached::{Attached, Client};
use render::{render, render_all};

/// When a log file reaches this many bytes it becomes the old one, of which there is one.
const ROTATE_AT: u64 = 10 * 1024 * 1024;
/// A line longer than this is written in parts.
const LONGEST_LINE: usize = 16 * 1024;
/// How much output is kept for someone who attaches late.
const REPLAY: usize = 128 * 1024;

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Out,
    /// Standard error.
    Err,
}

/// Bytes, and where they came from.
pub type Chunk = (Stream, Bytes);

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Go on with new lines until the container ends.
    pub follow: bool,
    /// At most so many lines from the end.
    pub tail: Option<u64>,
    /// None older than this.
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// The log of one run of a container; cheap to clone.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Writer>,
    progress: watch::Sender<Progress>,
}

struct Writer {
    file: File,
    size: u64,
    replay: Vec<Chunk>,
    replay_size: usize,
    attached: Attached,
}

/// How far a log has got: readers wait for it to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    rotations: u64,
    size: u64,
    ended: bool,
}

impl Log {
    /// Begins a log in a new file.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(&path)?;
        Ok(Self::new(path, file, Progress::default()))
    }

    /// The log of a run that has ended, maybe under an earlier daemon.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::options().append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self::new(path, file, Progress { rotations: 0, size, ended: true }))
    }

    fn new(path: PathBuf, file: File, progress: Progress) -> Self {
        let (size, replay, attached) = (progress.size, Vec::new(), Attached::default());
        let writer = Mutex::new(Writer { file, size, replay, replay_size: 0, attached });
        let (progress, _) = watch::channel(progress);
        Self { inner: Arc::new(Inner { path, writer, progress }) }
    }

    /// Takes the log of a run away that nobody can ask for any more.
    pub fn remove(path: &Path) {
        for path in [path.to_owned(), rotated_path(path)] {
            // It may never have been.
            let _ = fs::remove_file(path);
        }
    }

    /// What was put out so far (the last part of it), and all that comes.
    pub fn attach(&self) -> (Vec<Chunk>, mpsc::Receiver<Chunk>) {
        let mut writer = self.inner.writer.lock();
        (writer.replay.clone(), writer.attached.add())
    }

    /// Resolves when there is no more to come.
    pub async fn ended(&self) {
        let mut progress = self.inner.progress.subscribe();
        let _ = progress.wait_for(|p| p.ended).await;
    }

    /// Says that nothing more comes.
    pub fn end(&self) {
        self.inner.progress.send_modify(|p| p.ended = true);
    }

    /// Keeps bytes for those who attach later; who is to get them now.
    fn raw(&self, stream: Stream, bytes: &Bytes) -> Vec<Arc<Client>> {
        let mut writer = self.inner.writer.lock();
        writer.replay_size += bytes.len();
        writer.replay.push((stream, bytes.clone()));
        while writer.replay_size > REPLAY && writer.replay.len() > 1 {
            writer.replay_size -= writer.replay.remove(0).1.len();
        }
        writer.attached.all()
    }

    fn line(&self, stream: Stream, text: &[u8], whole: bool) -> io::Result<()> {
        let mut record =
            format!("{:.9} {} {} ", Timestamp::now(), stream.name(), if whole { 'F' } else { 'P' })
                .into_bytes();
        record.extend(text);
        record.push(b'\n');
        let mut writer = self.inner.writer.lock();
        let mut rotated = false;
        if writer.size > ROTATE_AT {
            fs::rename(&self.inner.path, rotated_path(&self.inner.path))?;
            writer.file = File::create(&self.inner.path)?;
            writer.size = 0;
            rotated = true;
        }
        writer.file.write_all(&record)?;
        writer.size += record.len() as u64;
        let size = writer.size;
        self.inner.progress.send_modify(|p| {
            p.size = size;
            p.rotations += u64::from(rotated);
        });
        Ok(())
    }

    /// Writes the whole lines of `chunk`, beginning with what `pending` holds, and leaves the rest there.
    fn lines(&self, stream: Stream, chunk: &[u8], pending: &mut Vec<u8>) -> io::Result<()> {
        let mut parts = chunk.split(|b| *b == b'\n').peekable();
        while let Some(part) = parts.next() {
            pending.extend(part);
            let whole = parts.peek().is_some();
            if whole || pending.len() >= LONGEST_LINE {
                let text = pending.strip_suffix(b"\r").filter(|_| whole).unwrap_or(pending);
                self.line(stream, text, whole)?;
                pending.clear();
            }
        }
        Ok(())
    }

    /// The lines that are asked for, ready to be shown.
    pub fn read(&self, query: Query) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(16);
        let log = self.clone();
        tokio::spawn(async move {
            if let Err(error) = log.send_all(&query, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        receiver
    }

    async fn send_all(&self, query: &Query, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        let mut progress = self.inner.progress.subscribe();
        let mut budget = query.limit_bytes.unwrap_or(u64::MAX);
        let mut seen = *progress.borrow_and_update();
        let path = self.inner.path.clone();
        let wanted = query.clone();
        let first = tokio::task::spawn_blocking(move || snapshot(&path, seen.size, &wanted))
            .await
            .map_err(io::Error::other)??;
        if !send_limited(first, &mut budget, to).await {
            return Ok(());
        }
        if !query.follow {
            return Ok(());
        }
        loop {
            let now = *progress.borrow_and_update();
            if now.rotations != seen.rotations {
                let rest = read_range(&rotated_path(&self.inner.path), seen.size, u64::MAX)?;
                let shown = render_all(&rest, query);
                seen = Progress { rotations: now.rotations, size: 0, ended: false };
                if !send_limited(shown, &mut budget, to).await {
                    return Ok(());
                }
            }
            if now.size > seen.size {
                let new = read_range(&self.inner.path, seen.size, now.size)?;
                seen.size = now.size;
                if !send_limited(render_all(&new, query), &mut budget, to).await {
                    return Ok(());
                }
            } else if now.ended {
                return Ok(());
            }
            if *progress.borrow() == now && !now.ended {
                tokio::select! {
                    changed = progress.changed() => if changed.is_err() { return Ok(()) },
                    () = to.closed() => return Ok(()),
                }
            }
        }
    }
}

async fn send_limited(mut bytes: Vec<u8>, budget: &mut u64, to: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    if bytes.is_empty() {
        return true;
    }
    bytes.truncate(usize::try_from(*budget).unwrap_or(usize::MAX));
    *budget -= bytes.len() as u64;
    to.send(Ok(bytes.into())).await.is_ok() && *budget > 0
}

fn rotated_path(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn read_range(path: &Path, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to - from).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is in the files now, up to `size` of the current one.
fn snapshot(path: &Path, size: u64, query: &Query) -> io::Result<Vec<u8>> {
    let mut all = fs::read(rotated_path(path)).unwrap_or_default();
    all.extend(read_range(path, 0, size)?);
    Ok(render(&all, query))
}

/// Reads one stream of a container to its end.
pub(crate) async fn pump(mut source: impl AsyncRead + Unpin, stream: Stream, log: Log) {
    let mut buffer = vec![0; LONGEST_LINE];
    let mut line: Vec<u8> = Vec::new();
    loop {
        // The other end of a terminal being gone shows as an error.
        let length = source.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            break;
        }
        let chunk = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        let clients = log.raw(stream, &chunk);
        if log.lines(stream, &chunk, &mut line).is_err() {
            return;
        }
        for client in clients {
            client.give((stream, chunk.clone())).await;
        }
    }
    if !line.is_empty() {
        let _ = log.line(stream, &line, false);
    }
}

#[cfg(test)]
mod tests;
