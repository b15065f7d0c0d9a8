//! Every Istio object that is in force, for status, analysis and `/debug/configz`.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_config::{AnyObject, Kind};
use meltemi_mesh::Change;
use parking_lot::RwLock;

/// Kind, namespace and name.
pub type Key = (Kind, String, String);

/// The objects. Cheap to clone; the hub alone writes.
#[derive(Clone, Default)]
pub struct Objects(Arc<RwLock<Held>>);

#[derive(Default)]
struct Held {
    objects: BTreeMap<Key, AnyObject>,
    /// Counts changes.
    version: u64,
}

impl Objects {
    pub(crate) fn apply(&self, change: &Change) {
        match change {
            Change::Upsert(object) if object.kind().is_istio() => {
                let key = (object.kind(), object.namespace().to_owned(), object.name().to_owned());
                let mut held = self.0.write();
                held.version += 1;
                held.objects.insert(key, object.clone());
            }
            Change::Delete(kind, namespace, name) if kind.is_istio() => {
                let mut held = self.0.write();
                held.version += 1;
                held.objects.remove(&(*kind, namespace.clone(), name.clone()));
            }
            _ => {}
        }
    }

    /// The object of that key.
    pub fn get(&self, key: &Key) -> Option<AnyObject> {
        self.0.read().objects.get(key).cloned()
    }

    /// All of them, by kind, namespace and name.
    pub fn list(&self) -> Vec<AnyObject> {
        self.0.read().objects.values().cloned().collect()
    }

    /// Differs whenever something changed.
    pub fn version(&self) -> u64 {
        self.0.read().version
    }
}
