//! What was accepted and what was refused, for the admin interface.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;

/// A resource as it stands.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The encoded message accepted last.
    pub body: Option<Bytes>,
    /// The version it came with; empty for static ones.
    pub version: Arc<str>,
    /// When it was accepted.
    pub updated: SystemTime,
    /// The bootstrap holds it.
    pub is_static: bool,
    /// It waits for what it depends on.
    pub warming: bool,
    /// The last refusal, when it is the latest thing that happened.
    pub refused: Option<Refused>,
}

/// An update that was refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// Which version.
    pub version: Arc<str>,
    /// When.
    pub at: SystemTime,
    /// The encoded message.
    pub body: Bytes,
}

type ByName = BTreeMap<Arc<str>, Entry>;

/// All resources by type and name. Written by the control thread, read by the admin interface.
#[derive(Debug, Default)]
pub struct Registry(Mutex<BTreeMap<&'static str, ByName>>);

impl Registry {
    /// A resource was accepted.
    pub fn accept(
        &self,
        type_url: &'static str,
        name: &Arc<str>,
        body: Bytes,
        version: &Arc<str>,
        source: Source,
    ) {
        let entry = Entry {
            body: Some(body),
            version: version.clone(),
            updated: SystemTime::now(),
            is_static: source.is_static,
            warming: source.warming,
            refused: None,
        };
        self.0.lock().entry(type_url).or_default().insert(name.clone(), entry);
    }

    /// A resource was refused; what was accepted before stays.
    pub fn refuse(&self, type_url: &'static str, name: &Arc<str>, refused: Refused) {
        let mut all = self.0.lock();
        let entry = all.entry(type_url).or_default().entry(name.clone()).or_insert_with(|| Entry {
            body: None,
            version: "".into(),
            updated: SystemTime::now(),
            is_static: false,
            warming: false,
            refused: None,
        });
        entry.refused = Some(refused);
    }

    /// A resource is in force.
    pub fn activate(&self, type_url: &str, name: &str) {
        if let Some(entry) = self.0.lock().get_mut(type_url).and_then(|all| all.get_mut(name)) {
            entry.warming = false;
        }
    }

    /// A resource is gone.
    pub fn remove(&self, type_url: &str, name: &str) {
        if let Some(all) = self.0.lock().get_mut(type_url) {
            all.remove(name);
        }
    }

    /// All resources of a type.
    pub fn list(&self, type_url: &str) -> Vec<(Arc<str>, Entry)> {
        let all = self.0.lock();
        let found = all.get(type_url).into_iter().flatten();
        found.map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    /// The message accepted last under a name.
    pub fn body(&self, type_url: &str, name: &str) -> Option<Bytes> {
        self.0.lock().get(type_url)?.get(name)?.body.clone()
    }
}

/// Where an accepted resource comes from and where it is in its life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Source {
    /// The bootstrap holds it.
    pub is_static: bool,
    /// It waits for what it depends on.
    pub warming: bool,
}
