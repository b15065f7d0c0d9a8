//! Requests that wait while a cluster that answered a moment ago refuses every connection.
//!
//! A process that was killed is back after a second or so. Nothing of a request that could not be delivered was sent, so it can be
//! tried until then without harm. What must not happen is that a real outage is hidden or queues build up: so an outage has one
//! short time in which requests wait, counted from its first failure, and only so many of them; after it everything fails at once,
//! as with Envoy, until the cluster has answered again. A cluster that never answered has no such time.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// From the first failure of an outage: for so long its requests may wait.
pub const LONGEST: Duration = Duration::from_secs(5);
/// So many requests of a cluster wait at a time.
pub const MOST: usize = 512;
/// Between two tries of a request that waits, at first and at most.
const STEPS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

const NEVER_ANSWERED: u64 = 0;
const ANSWERS: u64 = 1;
/// A later value of the state is a moment: when the outage began.
const FIRST_MOMENT: u64 = 2;

/// What is known of a cluster's outages.
#[derive(Debug, Default)]
pub struct Hold {
    state: AtomicU64,
    held: AtomicUsize,
}

/// A request that may wait; counted until dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a AtomicUsize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hold {
    /// A host of the cluster has answered. Called for every response: the shared word is written only when that is news.
    pub fn answered(&self) {
        if self.state.load(Ordering::Relaxed) != ANSWERS {
            self.state.store(ANSWERS, Ordering::Relaxed);
        }
    }

    /// A request could not be delivered: whether it may wait and try again.
    pub fn take(&self, now: Instant) -> Option<Held<'_>> {
        let now = moment(now);
        let began = match self.state.compare_exchange(ANSWERS, now, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now,
            Err(NEVER_ANSWERED) => return None,
            Err(began) => began,
        };
        if u128::from(now.saturating_sub(began)) >= LONGEST.as_millis() {
            return None;
        }
        let held = Held(&self.held);
        (self.held.fetch_add(1, Ordering::Relaxed) < MOST).then_some(held)
    }

    /// The wait before try number `count` (from 0) of one request, with half of it left to chance.
    pub fn wait(count: u32, random: f64) -> Duration {
        let step = STEPS.0.saturating_mul(1 << count.min(10)).min(STEPS.1);
        step.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

/// Milliseconds since this was first asked.
fn moment(now: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let millis = now.saturating_duration_since(*START).as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(FIRST_MOMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_has_one_time_of_waiting() {
        let hold = Hold::default();
        assert!(hold.take(Instant::now()).is_none(), "it never answered");
        hold.answered();
        assert!(hold.take(Instant::now()).is_some());
        tokio::time::advance(LONGEST - Duration::from_millis(1)).await;
        assert!(hold.take(Instant::now()).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        for _ in 0..3 {
            assert!(hold.take(Instant::now()).is_none(), "from now on requests fail at once");
            tokio::time::advance(LONGEST).await;
        }
        hold.answered();
        assert!(hold.take(Instant::now()).is_some(), "another outage");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait() {
        let hold = Hold::default();
        hold.answered();
        let mut held: Vec<_> = (0..MOST).map(|_| hold.take(Instant::now()).unwrap()).collect();
        assert!(hold.take(Instant::now()).is_none());
        held.pop();
        assert!(hold.take(Instant::now()).is_some());
        drop(held);
        assert_eq!(hold.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn waits_grow_to_a_quarter_of_a_second() {
        let waits: Vec<_> = [0, 1, 3, 4, 40].map(|count| Hold::wait(count, 1.0).as_millis()).into();
        assert_eq!(waits, [25, 50, 200, 250, 250]);
        assert_eq!(Hold::wait(1, 0.0).as_millis(), 25);
    }
}
