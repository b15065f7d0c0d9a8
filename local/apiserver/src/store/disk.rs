//! The disk half of the store: one thread that commits queued writes in groups to a `redb` file.

use super::{StoreError, Stored};
use anyhow::{Context, bail};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::mpsc;
use tokio::sync::oneshot;

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

/// The layout of the file. Another number is refused, never touched.
const FORMAT: &str = "1";

/// At most this many writes share a commit.
const GROUP: usize = 512;

/// Between resource and key in table keys; occurs in neither.
const SEPARATOR: char = '\u{0}';

type Ack = oneshot::Sender<Result<(), String>>;

/// One write: the table key, the store's version, and the JSON (`None` deletes).
pub struct Op {
    key: String,
    version: u64,
    json: Option<Bytes>,
}

impl Op {
    /// A write of an object.
    pub fn new(storage: &str, key: &str, version: u64, json: Option<Bytes>) -> Self {
        Op { key: format!("{storage}{SEPARATOR}{key}"), version, json }
    }
}

/// The handle that queues writes; the thread ends when it is dropped.
pub struct Disk {
    queue: mpsc::Sender<(Op, Ack)>,
}

/// What the file held.
pub struct Loaded {
    /// The highest version written.
    pub version: u64,
    /// Storage key, object key, object.
    pub objects: Vec<(String, String, Stored)>,
}

impl Disk {
    /// Opens or creates the file and reads it all.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Loaded)> {
        // Secrets are in there, and it may be in a directory that others can read.
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)))
            .with_context(|| format!("cannot create the data file {}", path.display()))?;
        let database = Database::create(path).with_context(|| {
            format!(
                "cannot open the data file {}; is another cluster using this data directory?",
                path.display()
            )
        })?;
        check_format(&database, path)?;
        let loaded = load(&database).with_context(|| format!("cannot read {}", path.display()))?;
        let (queue, jobs) = mpsc::channel();
        std::thread::Builder::new().name("apiserver-disk".into()).spawn(move || run(&database, &jobs))?;
        Ok((Disk { queue }, loaded))
    }

    /// Queues a write; the receiver resolves when it is durable.
    pub fn submit(&self, op: Op) -> Result<oneshot::Receiver<Result<(), String>>, StoreError> {
        let (ack, done) = oneshot::channel();
        let gone = |_| StoreError::Disk("the disk writer has stopped".into());
        self.queue.send((op, ack)).map_err(gone)?;
        Ok(done)
    }
}

fn check_format(database: &Database, path: &Path) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|v| v.value().to_owned());
        match found.as_deref() {
            Some(FORMAT) => {}
            None => {
                meta.insert("format", FORMAT)?;
            }
            Some(other) => bail!(
                "{} has format {other}, this program reads format {FORMAT}: use the version of meltemi that wrote it, or another --data-dir",
                path.display()
            ),
        }
        transaction.open_table(OBJECTS)?;
    }
    transaction.commit()?;
    Ok(())
}

fn load(database: &Database) -> anyhow::Result<Loaded> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let version = meta.get("version")?.and_then(|v| v.value().parse().ok()).unwrap_or(0);
    let table = transaction.open_table(OBJECTS)?;
    let mut objects = Vec::new();
    for row in table.iter()? {
        let (key, json) = row?;
        let Some((storage, key)) = key.value().split_once(SEPARATOR) else { continue };
        let value: Value =
            serde_json::from_slice(json.value()).with_context(|| format!("object {storage} {key}"))?;
        let version = crate::object::text(&value, "/metadata/resourceVersion").parse().unwrap_or(0);
        let stored = Stored { value, json: Bytes::copy_from_slice(json.value()), version };
        objects.push((storage.to_owned(), key.to_owned(), stored));
    }
    Ok(Loaded { version, objects })
}

fn run(database: &Database, jobs: &mpsc::Receiver<(Op, Ack)>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        let result = commit(database, &group).map_err(|e| e.to_string());
        let failed = result.is_err();
        for (_, ack) in group {
            // A caller that has gone away needs no answer.
            let _ = ack.send(result.clone());
        }
        if failed {
            // Memory is now ahead of the disk: accept nothing more rather than acknowledge what may be lost.
            tracing::error!(error = ?result, "cannot write to disk; the API server is now read-only");
            return;
        }
    }
}

fn commit(database: &Database, group: &[(Op, Ack)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(OBJECTS)?;
        for (op, _) in group {
            match &op.json {
                Some(json) => table.insert(op.key.as_str(), json.as_ref())?,
                None => table.remove(op.key.as_str())?,
            };
        }
        if let Some((last, _)) = group.last() {
            transaction.open_table(META)?.insert("version", last.version.to_string().as_str())?;
        }
    }
    transaction.commit()?;
    Ok(())
}
