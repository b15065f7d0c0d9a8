//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential back-off with full jitter above half of the step.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// First wait.
    pub base: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (the first is 0): between half of the step and the step.
    /// `random` is between 0 and 1.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let step = self.base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.max);
        step.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_and_stays_there() {
        let backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(1) };
        let waits: Vec<_> = [0, 1, 3, 10, 40].map(|n| backoff.delay(n, 1.0).as_millis()).into();
        assert_eq!(waits, [100, 200, 800, 1000, 1000]);
        assert_eq!(backoff.delay(1, 0.0).as_millis(), 100);
    }
}
