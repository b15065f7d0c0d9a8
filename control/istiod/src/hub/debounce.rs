//! Waiting for changes to settle: one `kubectl apply` is many events, and each push costs every proxy.

use std::time::Duration;

use tokio::time::Instant;

/// Waits until nothing has changed for a while, but not for ever.
#[derive(Debug, Clone)]
pub struct Debounce {
    after: Duration,
    max: Duration,
    window: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Quiet for `after`, at most `max` from the first change.
    pub fn new(after: Duration, max: Duration) -> Self {
        Self { after, max, window: None }
    }

    /// Something changed at `now`.
    pub fn note(&mut self, now: Instant) {
        let (first, _) = self.window.unwrap_or((now, now));
        self.window = Some((first, now));
    }

    /// When to publish what has changed.
    pub fn deadline(&self) -> Option<Instant> {
        self.window.map(|(first, last)| (last + self.after).min(first + self.max))
    }

    /// It has been published.
    pub fn clear(&mut self) {
        self.window = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_quiet_but_not_for_ever() {
        let (after, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut debounce = Debounce::new(after, max);
        assert_eq!(debounce.deadline(), None);
        let start = Instant::now();
        debounce.note(start);
        debounce.note(start + Duration::from_millis(60));
        assert_eq!(debounce.deadline(), Some(start + Duration::from_millis(160)));
        debounce.note(start + Duration::from_millis(990));
        assert_eq!(debounce.deadline(), Some(start + max));
        debounce.clear();
        assert_eq!(debounce.deadline(), None);
    }
}
