//! A named cell for a compiled value, made before the value arrives.
//!
//! A route is compiled before its cluster is known: it holds the cluster's [`Slot`], and finds the value there (or
//! nothing, Envoy's flag `NC`) at the time of the request, without a look-up by name.

use std::sync::{Arc, Weak};

use arc_swap::{ArcSwapOption, Guard};
use hashbrown::HashMap;
use parking_lot::Mutex;

/// A named cell holding the current value of one resource, or nothing.
#[derive(Debug)]
pub struct Slot<T> {
    name: Arc<str>,
    value: ArcSwapOption<T>,
}

impl<T> Slot<T> {
    /// An empty cell outside of any [`Slots`].
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), value: ArcSwapOption::empty() })
    }

    /// A cell that already has its value.
    pub fn filled(name: &str, value: Arc<T>) -> Arc<Self> {
        let slot = Self::new(name);
        slot.set(Some(value));
        slot
    }

    /// The resource's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The current value; cheap, takes no lock.
    pub fn get(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// The current value without touching its reference count.
    pub fn peek(&self) -> Guard<Option<Arc<T>>> {
        self.value.load()
    }

    /// Replaces the value; requests that hold the old one finish with it.
    pub fn set(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        self.value.swap(value)
    }
}

/// All cells of one resource type. Only the control thread compiles, so the lock is never contended by requests.
#[derive(Debug)]
pub struct Slots<T> {
    cells: Mutex<Cells<T>>,
}

#[derive(Debug)]
struct Cells<T> {
    by_name: HashMap<Arc<str>, Weak<Slot<T>>>,
    /// Forgotten cells are swept when their number may have doubled, so that sweeping is paid for by making.
    sweep_at: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { cells: Mutex::new(Cells { by_name: HashMap::new(), sweep_at: 64 }) }
    }
}

impl<T> Slots<T> {
    /// The cell of that name, made if nobody has asked for it before.
    pub fn slot(&self, name: &str) -> Arc<Slot<T>> {
        let mut cells = self.cells.lock();
        if let Some(slot) = cells.by_name.get(name).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Slot::new(name);
        if cells.by_name.len() >= cells.sweep_at {
            cells.by_name.retain(|_, weak| weak.strong_count() > 0);
            cells.sweep_at = (cells.by_name.len() * 2).max(64);
        }
        cells.by_name.insert(slot.name.clone(), Arc::downgrade(&slot));
        slot
    }

    /// The cell of that name if somebody holds it.
    pub fn existing(&self, name: &str) -> Option<Arc<Slot<T>>> {
        self.cells.lock().by_name.get(name).and_then(Weak::upgrade)
    }

    /// The names somebody holds a cell of.
    pub fn names(&self) -> Vec<Arc<str>> {
        let cells = self.cells.lock();
        let mut names: Vec<_> = cells
            .by_name
            .iter()
            .filter(|(_, weak)| weak.strong_count() > 0)
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_cell_while_it_is_held() {
        let slots = Slots::<u32>::default();
        let early = slots.slot("a");
        assert!(early.get().is_none());
        slots.slot("a").set(Some(Arc::new(7)));
        assert_eq!(early.get().as_deref(), Some(&7));
        drop(early);
        assert!(slots.existing("a").is_none());
        assert!(slots.slot("a").get().is_none());
    }
}
