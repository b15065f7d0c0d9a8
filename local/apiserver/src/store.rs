//! Where objects live: in memory for reading and watching, on disk before a write is acknowledged.
//!
//! One counter gives every write its resource version. A write changes memory and queues for the disk under one lock, so
//! that both see the same order; the caller is answered when the disk has it.

mod collection;
mod disk;

use crate::object;
use bytes::Bytes;
use collection::Collection;
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many changes of a resource a watcher may be behind before it is told 410 Gone.
pub const HISTORY: usize = 2048;

/// An object as stored.
#[derive(Debug)]
pub struct Stored {
    /// The object, in the storage version.
    pub value: Value,
    /// Its JSON.
    pub json: Bytes,
    /// Its resource version.
    pub version: u64,
}

/// What happened to an object.
#[derive(Debug)]
pub struct Change {
    /// The resource version of the write.
    pub version: u64,
    /// The storage key of the resource.
    pub storage: Arc<str>,
    /// The object after the write; at deletion its last state with the deletion's resource version.
    pub object: Arc<Stored>,
    /// The object before the write.
    pub previous: Option<Arc<Stored>>,
    /// Whether the write deleted the object.
    pub deleted: bool,
}

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Creation of what exists.
    #[error("already exists")]
    Exists,
    /// Update or deletion of what does not exist.
    #[error("not found")]
    Missing,
    /// Somebody else wrote in between.
    #[error("the object has been modified")]
    Stale,
    /// The disk refused; nothing more is accepted, as memory and disk differ.
    #[error("cannot write to disk: {0}")]
    Disk(String),
}

struct State {
    version: u64,
    collections: HashMap<Arc<str>, Collection>,
}

/// The storage of one API server.
pub struct Store {
    state: RwLock<State>,
    disk: disk::Disk,
    all: broadcast::Sender<Arc<Change>>,
    /// The version at start: nothing before it can be watched.
    start: u64,
}

/// A list of objects and the version it is true at.
pub struct Listing {
    /// Objects with their keys, in key order.
    pub items: Vec<(String, Arc<Stored>)>,
    /// The store's version at the time.
    pub version: u64,
}

/// A watch: what it missed, then what comes.
pub struct Subscription {
    /// Changes since the version asked for, oldest first.
    pub backlog: Vec<Arc<Change>>,
    /// Changes from now on.
    pub live: broadcast::Receiver<Arc<Change>>,
}

/// The key of an object within its resource.
pub fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

impl Store {
    /// Opens or creates the store in a directory.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let (disk, loaded) = disk::Disk::open(&dir.join("objects.redb"))?;
        // Writes that were seen but never reached the disk may have used the versions just after the last one.
        let version = loaded.version + 1000;
        let mut collections: HashMap<Arc<str>, Collection> = HashMap::new();
        for (storage, key, stored) in loaded.objects {
            let collection = collections.entry(storage.into()).or_default();
            collection.forgotten = version;
            collection.objects.insert(key, Arc::new(stored));
        }
        let (all, _) = broadcast::channel(HISTORY * 8);
        Ok(Store { state: RwLock::new(State { version, collections }), disk, all, start: version })
    }

    /// The version of the latest write.
    pub fn version(&self) -> u64 {
        self.state.read().version
    }

    /// All changes of all resources, for the server's own controllers.
    pub fn subscribe_all(&self) -> broadcast::Receiver<Arc<Change>> {
        self.all.subscribe()
    }

    /// One object.
    pub fn get(&self, storage: &str, key: &str) -> Option<Arc<Stored>> {
        self.state.read().collections.get(storage)?.objects.get(key).cloned()
    }

    /// Objects whose keys start with a prefix (`ns/`, or "" for all).
    pub fn list(&self, storage: &str, prefix: &str) -> Listing {
        let state = self.state.read();
        let version = state.version;
        let Some(collection) = state.collections.get(storage) else {
            return Listing { items: Vec::new(), version };
        };
        let range = collection.objects.range(prefix.to_owned()..);
        let items = range.take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone()));
        Listing { items: items.collect(), version }
    }

    /// What [`Store::list`] gave at an earlier version; `None` when that is no longer known: 410 Gone.
    pub fn list_at(&self, storage: &str, prefix: &str, version: u64) -> Option<Listing> {
        let state = self.state.read();
        let Some(collection) = state.collections.get(storage) else {
            return (version >= self.start).then(|| Listing { items: Vec::new(), version });
        };
        if version < collection.forgotten || version > state.version {
            return None;
        }
        let range = collection.objects.range(prefix.to_owned()..);
        let mut items: BTreeMap<String, Arc<Stored>> =
            range.take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect();
        for change in collection.history.iter().rev().take_while(|change| change.version > version) {
            let value = &change.object.value;
            let key = key(object::namespace(value), object::name(value));
            match &change.previous {
                Some(previous) if key.starts_with(prefix) => items.insert(key, previous.clone()),
                _ => items.remove(&key),
            };
        }
        Some(Listing { items: items.into_iter().collect(), version })
    }

    /// Storage keys that have objects.
    pub fn storages(&self) -> Vec<Arc<str>> {
        let state = self.state.read();
        state.collections.iter().filter(|(_, c)| !c.objects.is_empty()).map(|(k, _)| k.clone()).collect()
    }

    /// Watches a resource after a version; `None` when that is no longer (or not yet) known: 410 Gone.
    pub fn watch(&self, storage: &Arc<str>, after: u64) -> Option<Subscription> {
        let mut state = self.state.write();
        let (version, start) = (state.version, self.start);
        let collection = collection(&mut state, storage, start);
        if after < collection.forgotten || after > version {
            return None;
        }
        let backlog = collection.history.iter().filter(|c| c.version > after).cloned().collect();
        Some(Subscription { backlog, live: collection.sender().subscribe() })
    }

    /// Lists and watches in one step, so that nothing falls between.
    pub fn list_and_watch(&self, storage: &Arc<str>, prefix: &str) -> (Listing, Subscription) {
        let mut state = self.state.write();
        let (version, start) = (state.version, self.start);
        let collection = collection(&mut state, storage, start);
        let range = collection.objects.range(prefix.to_owned()..);
        let items = range.take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone()));
        let listing = Listing { items: items.collect(), version };
        (listing, Subscription { backlog: Vec::new(), live: collection.sender().subscribe() })
    }

    /// Stores a new object.
    pub async fn create(
        &self,
        storage: &Arc<str>,
        key: &str,
        value: Value,
    ) -> Result<Arc<Stored>, StoreError> {
        self.write(storage, key, Precondition::Absent, Some(value)).await
    }

    /// Replaces an object that is still at `expected`; a write that changes nothing is not one.
    pub async fn update(
        &self,
        storage: &Arc<str>,
        key: &str,
        expected: u64,
        value: Value,
    ) -> Result<Arc<Stored>, StoreError> {
        self.write(storage, key, Precondition::At(expected), Some(value)).await
    }

    /// Deletes an object that is still at `expected`; returns its last state.
    pub async fn delete(
        &self,
        storage: &Arc<str>,
        key: &str,
        expected: u64,
    ) -> Result<Arc<Stored>, StoreError> {
        self.write(storage, key, Precondition::At(expected), None).await
    }

    async fn write(
        &self,
        storage: &Arc<str>,
        key: &str,
        precondition: Precondition,
        value: Option<Value>,
    ) -> Result<Arc<Stored>, StoreError> {
        let (stored, done) = {
            let mut state = self.state.write();
            let State { version, collections } = &mut *state;
            let collection = collections
                .entry(storage.clone())
                .or_insert_with(|| Collection { forgotten: self.start, ..Collection::default() });
            let previous = collection.objects.get(key).cloned();
            check(&precondition, previous.as_deref())?;
            let deleted = value.is_none();
            if let (Some(new), Some(old)) = (&value, &previous)
                && same_but_version(new, &old.value)
            {
                return Ok(old.clone());
            }
            let Some(mut new) = value.or_else(|| previous.as_ref().map(|p| p.value.clone())) else {
                return Err(StoreError::Missing);
            };
            let next = *version + 1;
            object::meta_mut(&mut new).insert("resourceVersion".into(), next.to_string().into());
            let json = serde_json::to_vec(&new).map_err(|e| StoreError::Disk(e.to_string()))?;
            let stored = Arc::new(Stored { value: new, json: json.into(), version: next });
            let op = disk::Op::new(storage, key, next, (!deleted).then(|| stored.json.clone()));
            let done = self.disk.submit(op)?;
            *version = next;
            collection.apply(key, stored.clone(), deleted);
            let change = Arc::new(Change {
                version: next,
                storage: storage.clone(),
                object: stored.clone(),
                previous,
                deleted,
            });
            collection.remember(change.clone());
            // Nobody listening is fine.
            let _ = self.all.send(change);
            (stored, done)
        };
        match done.await {
            Ok(Ok(())) => Ok(stored),
            Ok(Err(message)) => Err(StoreError::Disk(message)),
            Err(_) => Err(StoreError::Disk("the disk writer has stopped".into())),
        }
    }
}

enum Precondition {
    Absent,
    At(u64),
}

fn check(precondition: &Precondition, previous: Option<&Stored>) -> Result<(), StoreError> {
    match (precondition, previous) {
        (Precondition::Absent, None) => Ok(()),
        (Precondition::Absent, Some(_)) => Err(StoreError::Exists),
        (Precondition::At(_), None) => Err(StoreError::Missing),
        (Precondition::At(expected), Some(p)) if p.version == *expected => Ok(()),
        (Precondition::At(_), Some(_)) => Err(StoreError::Stale),
    }
}

fn collection<'a>(state: &'a mut State, storage: &Arc<str>, start: u64) -> &'a mut Collection {
    let empty = || Collection { forgotten: start, ..Collection::default() };
    state.collections.entry(storage.clone()).or_insert_with(empty)
}

/// Equal in everything that is the user's to see: the version and the times of managed fields do not count.
fn same_but_version(new: &Value, old: &Value) -> bool {
    let (Some(a), Some(b)) = (new.as_object(), old.as_object()) else { return false };
    let rest = |m: &'_ serde_json::Map<String, Value>| m.iter().filter(|(k, _)| *k != "metadata").count();
    if rest(a) != rest(b) || !a.iter().all(|(k, v)| k == "metadata" || b.get(k) == Some(v)) {
        return false;
    }
    let meta = |v: &Value| {
        let mut meta = v.get("metadata").cloned().unwrap_or_default();
        if let Some(map) = meta.as_object_mut() {
            map.shift_remove("resourceVersion");
            for entry in object::items_mut(map, "managedFields") {
                object::as_map(entry).shift_remove("time");
            }
        }
        meta
    };
    meta(new) == meta(old)
}

#[cfg(test)]
mod tests;
