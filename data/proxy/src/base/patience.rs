//! Waiting for moments that almost never come.
//!
//! Every request has time-outs and nearly none is reached. A timer of the runtime for each would be put into a wheel and taken out
//! again, under a lock, some times a request. Here a far deadline is an entry in a list of the worker that is looked through a few
//! times a second; only what is near gets a timer, so that a time-out is as exact as before.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::{Instant, Sleep};

/// How often the list is looked through.
const TICK: Duration = Duration::from_millis(250);
/// Deadlines within this time get a timer of their own. More than a tick, so that none is overlooked.
const NEAR: Duration = Duration::from_millis(600);

struct Entry {
    at: Instant,
    waker: Waker,
}

thread_local! {
    static FAR: RefCell<Slab<Entry>> = const { RefCell::new(Slab::new()) };
    static TICKING: Cell<bool> = const { Cell::new(false) };
}

/// A deadline that may move.
#[derive(Debug, Default)]
pub struct Patience {
    entry: Option<usize>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Ready once `at` has come; until then the task is woken in time. Each call may name another moment.
    pub fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if at <= now {
            return Poll::Ready(());
        }
        if at - now > NEAR {
            self.keep(at, cx);
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }

    fn keep(&mut self, at: Instant, cx: &mut Context<'_>) {
        let before = FAR.with_borrow_mut(|far| {
            let entry = match self.entry.and_then(|key| far.get_mut(key)) {
                Some(entry) => entry,
                None => {
                    self.entry = Some(far.insert(Entry { at, waker: cx.waker().clone() }));
                    return None;
                }
            };
            entry.at = at;
            (!entry.waker.will_wake(cx.waker()))
                .then(|| std::mem::replace(&mut entry.waker, cx.waker().clone()))
        });
        // Dropped outside of the borrow: it may be the last handle of a task that has deadlines itself.
        drop(before);
        if !TICKING.get() {
            let ticking = Ticking::begin();
            tokio::task::spawn_local(tick(ticking));
        }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if let Some(key) = self.entry {
            let entry = FAR.try_with(|far| far.borrow_mut().try_remove(key));
            drop(entry);
        }
    }
}

/// Wakes whose deadline comes near, as long as anybody waits.
async fn tick(_ticking: Ticking) {
    loop {
        tokio::time::sleep(TICK).await;
        let soon = Instant::now() + NEAR;
        let (near, empty) = FAR.with_borrow(|far| {
            let near = far.iter().filter(|(_, entry)| entry.at <= soon);
            (near.map(|(_, entry)| entry.waker.clone()).collect::<Vec<_>>(), far.is_empty())
        });
        near.into_iter().for_each(Waker::wake);
        if empty {
            return;
        }
    }
}

/// There is a task that ticks on this thread; no longer when it ends, however it ends.
struct Ticking;

impl Ticking {
    fn begin() -> Self {
        TICKING.set(true);
        Self
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        let _ = TICKING.try_with(|ticking| ticking.set(false));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::LocalSet;

    use super::*;

    async fn until(after: Duration) -> Duration {
        let begin = Instant::now();
        let mut patience = Patience::default();
        poll_fn(|cx| patience.poll(begin + after, cx)).await;
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn far_and_near_deadlines_are_exact() {
        for millis in [1, 599, 600, 601, 850, 5_003, 60_001] {
            let after = Duration::from_millis(millis);
            assert_eq!(LocalSet::new().run_until(until(after)).await, after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move() {
        LocalSet::new()
            .run_until(async {
                let begin = Instant::now();
                let mut patience = Patience::default();
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    let seconds = if polls == 1 { 10 } else { 20 };
                    patience.poll(begin + Duration::from_secs(seconds), cx)
                })
                .await;
                assert_eq!(begin.elapsed(), Duration::from_secs(20));
                drop(patience);
                assert!(FAR.with_borrow(Slab::is_empty));
            })
            .await;
    }
}
