//! The objects of one resource and what happened to them lately.

use super::{Change, HISTORY, Stored};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::broadcast;

/// See the module.
#[derive(Default)]
pub struct Collection {
    pub objects: BTreeMap<String, Arc<Stored>>,
    pub history: VecDeque<Arc<Change>>,
    /// Changes up to and including this version have left the history.
    pub forgotten: u64,
    pub sender: Option<broadcast::Sender<Arc<Change>>>,
}

impl Collection {
    /// The channel to watchers.
    pub fn sender(&mut self) -> &broadcast::Sender<Arc<Change>> {
        self.sender.get_or_insert_with(|| broadcast::channel(HISTORY).0)
    }

    /// Changes the objects.
    pub fn apply(&mut self, key: &str, stored: Arc<Stored>, deleted: bool) {
        if deleted {
            self.objects.remove(key);
        } else {
            self.objects.insert(key.to_owned(), stored);
        }
    }

    /// Keeps a change for watchers that come late, and tells those that are there.
    pub fn remember(&mut self, change: Arc<Change>) {
        if self.history.len() >= HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.version;
        }
        self.history.push_back(change.clone());
        if let Some(sender) = &self.sender {
            let _ = sender.send(change);
        }
    }
}
