//! Trying again, ever later, but not for ever.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// About two minutes altogether; whatever is watched comes by again later.
const TRIES: u32 = 10;

/// The pauses between the attempts to do one thing.
#[derive(Debug, Default)]
pub struct Backoff {
    tried: u32,
}

impl Backoff {
    /// Waits before the next attempt; false when there have been enough.
    pub async fn pause(&mut self) -> bool {
        if self.tried >= TRIES {
            return false;
        }
        tokio::time::sleep(FIRST.saturating_mul(1 << self.tried).min(LONGEST)).await;
        self.tried += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pauses_grow_and_end() {
        let (mut backoff, mut pauses) = (Backoff::default(), Vec::new());
        loop {
            let before = tokio::time::Instant::now();
            if !backoff.pause().await {
                break;
            }
            pauses.push(before.elapsed());
        }
        assert!(pauses.is_sorted() && pauses[0] >= FIRST && pauses.len() == TRIES as usize, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause < LONGEST + FIRST), "{pauses:?}");
    }
}
