//! The cells in which workers count.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// Which block of every group this thread writes. 0 is shared by all threads that are not workers.
    static SLOT: Cell<usize> = const { Cell::new(0) };
}

/// Makes the calling thread worker `index` (counted from 0): from now on it writes cells of its own.
/// No two living threads may have the same index.
pub fn enter_worker(index: usize) {
    SLOT.with(|slot| slot.set(index + 1));
}

/// The calling thread's slot: 0 for threads that are not workers.
pub(crate) fn slot() -> usize {
    SLOT.with(Cell::get)
}

/// A row of numbers for each worker. A worker's row is allocated by itself when it first counts, so rows of different
/// workers do not share cache lines and an unused cluster costs next to nothing.
#[derive(Debug)]
pub(crate) struct Cells {
    rows: Box<[OnceLock<Box<[AtomicU64]>>]>,
    width: usize,
}

impl Cells {
    /// Cells for `slots` threads; with `width` 0 every write is dropped.
    pub(crate) fn new(slots: usize, width: usize) -> Self {
        let slots = if width == 0 { 0 } else { slots };
        Cells { rows: (0..slots).map(|_| OnceLock::new()).collect(), width }
    }

    /// Adds to a cell of the calling thread (wrapping, so that a gauge may go down by adding a negative number).
    pub(crate) fn add(&self, index: usize, amount: u64) {
        let slot = slot();
        let Some(row) = self.rows.get(slot) else { return };
        let row = row.get_or_init(|| (0..self.width).map(|_| AtomicU64::new(0)).collect());
        let Some(cell) = row.get(index) else { return };
        if slot == 0 {
            cell.fetch_add(amount, Ordering::Relaxed);
        } else {
            // Only this thread writes this cell: no read-modify-write is needed.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// The sum over all threads.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        let cells = self.rows.iter().filter_map(|row| row.get()?.get(index));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    /// Whether any thread ever wrote here.
    pub(crate) fn used(&self) -> bool {
        self.rows.iter().any(|row| row.get().is_some())
    }

    /// Sets a cell's sum to `value`. Right only where one thread does so and nobody else writes the cell.
    pub(crate) fn set(&self, index: usize, value: u64) {
        self.add(index, value.wrapping_sub(self.sum(index)));
    }

    /// Zeroes a cell for all threads; counts that happen at the same time may survive.
    pub(crate) fn reset(&self, index: usize) {
        for row in &self.rows {
            if let Some(cell) = row.get().and_then(|row| row.get(index)) {
                cell.store(0, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_threads_add_up() {
        let cells = Cells::new(3, 2);
        cells.add(0, 1);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let cells = &cells;
                scope.spawn(move || {
                    enter_worker(worker);
                    for _ in 0..1000 {
                        cells.add(0, 1);
                    }
                    cells.add(1, 0u64.wrapping_sub(1));
                });
            }
        });
        assert_eq!(cells.sum(0), 2001);
        assert_eq!(cells.sum(1) as i64, -2);
    }

    #[test]
    fn a_row_beyond_the_last_is_dropped_and_set_wins() {
        let cells = Cells::new(1, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enter_worker(7);
                cells.add(0, 5);
            });
        });
        assert!(!cells.used());
        cells.set(0, 4);
        cells.set(0, 2);
        assert_eq!(cells.sum(0), 2);
    }
}
