//! Persistent maps: a copy shares all that did not change with the map it was copied from.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of a namespace, shared.
pub type Namespace = Arc<str>;

/// The objects of one namespace.
type Shard<V> = Arc<BTreeMap<Arc<str>, Arc<V>>>;

/// Objects by namespace and name. A clone is one `Arc`; a write copies one outer map and one namespace's map.
#[derive(Debug, PartialEq)]
pub struct ByNamespace<V> {
    shards: Arc<BTreeMap<Namespace, Shard<V>>>,
}

impl<V> Default for ByNamespace<V> {
    fn default() -> Self {
        ByNamespace { shards: Arc::default() }
    }
}

impl<V> Clone for ByNamespace<V> {
    fn clone(&self) -> Self {
        ByNamespace { shards: self.shards.clone() }
    }
}

impl<V> ByNamespace<V> {
    /// The object of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<V>> {
        self.shards.get(namespace)?.get(name)
    }

    /// All objects of one namespace, by name.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = &Arc<V>> {
        self.shards.get(namespace).into_iter().flat_map(|shard| shard.values())
    }

    /// All objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<V>> {
        self.shards.values().flat_map(|shard| shard.values())
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.shards.values().map(|shard| shard.len()).sum()
    }

    /// True when there is no object.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Sets or (with `None`) removes an object and returns the one before.
    pub fn set(&mut self, namespace: &str, name: &str, value: Option<Arc<V>>) -> Option<Arc<V>> {
        if value.is_none() && self.get(namespace, name).is_none() {
            return None;
        }
        let shards = Arc::make_mut(&mut self.shards);
        let shard = Arc::make_mut(shards.entry(namespace.into()).or_default());
        let before = match value {
            Some(value) => shard.insert(name.into(), value),
            None => shard.remove(name),
        };
        if shard.is_empty() {
            shards.remove(namespace);
        }
        before
    }
}

/// Number of shards of a [`ByKey`]. A write copies 1/64 of the entries.
const SHARDS: usize = 64;

/// Values by a key that has no namespace (host names, addresses), spread over a fixed number of shards.
#[derive(Debug, PartialEq)]
pub struct ByKey<K: Ord, V> {
    shards: Vec<Arc<BTreeMap<K, V>>>,
}

impl<K: Ord, V> Default for ByKey<K, V> {
    fn default() -> Self {
        ByKey { shards: (0..SHARDS).map(|_| Arc::default()).collect() }
    }
}

impl<K: Ord, V> Clone for ByKey<K, V> {
    fn clone(&self) -> Self {
        ByKey { shards: self.shards.clone() }
    }
}

impl<K: Ord + Clone + std::hash::Hash, V: Clone> ByKey<K, V> {
    fn shard<Q: std::hash::Hash + ?Sized>(key: &Q) -> usize {
        use std::hash::BuildHasher;
        // A fixed seed: equal contents must give equal maps.
        (foldhash::fast::FixedState::with_seed(0).hash_one(key) as usize) % SHARDS
    }

    /// The value of that key.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + std::hash::Hash + ?Sized,
    {
        self.shards.get(Self::shard(key))?.get(key)
    }

    /// All entries; within a shard by key, between shards in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Sets or (with `None`) removes a value.
    pub fn set(&mut self, key: K, value: Option<V>) {
        let Some(shard) = self.shards.get_mut(Self::shard(&key)) else { return };
        match value {
            Some(value) => {
                Arc::make_mut(shard).insert(key, value);
            }
            None if shard.contains_key(&key) => {
                Arc::make_mut(shard).remove(&key);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_shares_the_namespaces_that_did_not_change() {
        let mut map = ByNamespace::default();
        map.set("a", "x", Some(Arc::new(1)));
        map.set("b", "y", Some(Arc::new(2)));
        let before = map.clone();
        map.set("b", "y", Some(Arc::new(3)));
        assert!(Arc::ptr_eq(&before.shards["a"], &map.shards["a"]));
        assert_eq!(before.get("b", "y").map(|v| **v), Some(2));
        assert_eq!(map.get("b", "y").map(|v| **v), Some(3));
        map.set("b", "y", None);
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn keys_are_found_by_their_borrowed_form() {
        let mut map: ByKey<String, u8> = ByKey::default();
        map.set("a".into(), Some(1));
        assert_eq!(map.get("a"), Some(&1));
        map.set("a".into(), None);
        assert_eq!(map.get("a"), None);
        assert_eq!(map, ByKey::default());
    }
}
