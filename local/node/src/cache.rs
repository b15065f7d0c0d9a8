//! Local copies of the API's objects, kept by watches.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::StreamExt;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// All objects of a kind in all namespaces, and a count that grows with every change.
pub struct Cache<K>
where
    K: Resource + 'static,
    K::DynamicType: Hash + Eq,
{
    store: Store<K>,
    changes: watch::Receiver<u64>,
}

impl<K> Clone for Cache<K>
where
    K: Resource + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), changes: self.changes.clone() }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the watch; the cache is empty until the first list has come.
    pub fn start(client: Client) -> Self {
        let (reader, mut writer) = store();
        let (sender, changes) = watch::channel(0);
        let stream = watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff();
        tokio::spawn(async move {
            let mut stream = stream.boxed();
            let mut listing = false;
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => {
                        writer.apply_watcher_event(&event);
                        listing = match event {
                            watcher::Event::Init | watcher::Event::InitApply(_) => true,
                            watcher::Event::InitDone => false,
                            _ => listing,
                        };
                        if !listing {
                            sender.send_modify(|n| *n += 1);
                        }
                    }
                    Err(error) => tracing::debug!(%error, kind = %K::kind(&()), "a watch was interrupted"),
                }
            }
        });
        Self { store: reader, changes }
    }

    /// Waits for the first list.
    pub async fn ready(&self) {
        let mut changes = self.changes.clone();
        let _ = changes.wait_for(|n| *n > 0).await;
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Changes whenever an object does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}
