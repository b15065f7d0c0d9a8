//! Counting what is still in flight, to know when a process may go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Counts things in flight: connections, requests.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<watch::Sender<usize>>);

/// One thing in flight; counted until dropped.
#[derive(Debug)]
pub struct Guard(Arc<watch::Sender<usize>>);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl InFlight {
    /// Nothing in flight.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more.
    pub fn enter(&self) -> Guard {
        self.0.send_modify(|count| *count += 1);
        Guard(self.0.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until there is none, at most for `limit`; tells whether there is none.
    pub async fn zero_within(&self, limit: Duration) -> bool {
        let mut counts = self.0.subscribe();
        tokio::time::timeout(limit, counts.wait_for(|count| *count == 0)).await.is_ok()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_last_one_but_not_for_ever() {
        let flight = InFlight::new();
        let guards = [flight.enter(), flight.enter()];
        assert!(!flight.zero_within(Duration::from_secs(60)).await);
        assert_eq!(flight.count(), 2);
        drop(guards);
        assert!(flight.zero_within(Duration::ZERO).await);
    }
}
