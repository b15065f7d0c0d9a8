//! Numbers of connections and streams.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that is unique in this process (`%CONNECTION_ID%`, `%STREAM_ID%`). A thread takes numbers by the thousand, so that
/// workers do not fight for one counter.
pub fn unique_number() -> u64 {
    const AT_ONCE: u64 = 1000;
    static TAKEN: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    let (mut next, mut end) = OWN.get();
    if next == end {
        next = TAKEN.fetch_add(AT_ONCE, Ordering::Relaxed);
        end = next + AT_ONCE;
    }
    OWN.set((next + 1, end));
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_across_threads() {
        let take = || (0..2500).map(|_| unique_number()).collect::<Vec<_>>();
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }
}
