//! Histogram boundaries, and what can be read from a histogram.

use std::sync::Arc;

/// Envoy's default bucket boundaries. Durations are recorded in milliseconds.
pub const DEFAULT_BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
    30000.0,
    60000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A histogram's contents at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Upper bounds of the buckets, without the last, infinite one.
    pub bounds: Arc<[f64]>,
    /// How many values fell into each bucket (not cumulative); one longer than `bounds`.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Distribution {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bound and cumulative count of every bucket, the infinite one included.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    /// An estimate of the quantile `q` (0 to 1), linear inside its bucket; `None` when nothing was recorded.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count() as f64;
        let (mut lower, mut below) = (0.0, 0.0);
        let used = self.count() > 0;
        for (bound, cumulative) in self.cumulative().filter(|_| used) {
            let cumulative = cumulative as f64;
            if cumulative >= rank && cumulative > below {
                let share = ((rank - below) / (cumulative - below)).clamp(0.0, 1.0);
                return Some(if bound.is_finite() { lower + (bound - lower) * share } else { lower });
            }
            (lower, below) = (bound, cumulative);
        }
        None
    }
}

/// The bucket a value falls into.
pub(crate) fn bucket(bounds: &[f64], value: u64) -> usize {
    let value = value as f64;
    bounds.partition_point(|bound| *bound < value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        assert_eq!(bucket(&DEFAULT_BUCKETS, 0), 0);
        assert_eq!(bucket(&DEFAULT_BUCKETS, 1), 1);
        assert_eq!(bucket(&DEFAULT_BUCKETS, 2), 2);
        assert_eq!(bucket(&DEFAULT_BUCKETS, u64::MAX), 19);
    }

    #[test]
    fn quantiles_are_estimated_inside_the_bucket() {
        let bounds: Arc<[f64]> = Arc::from([10.0, 20.0]);
        let filled = Distribution { bounds: bounds.clone(), counts: vec![0, 10, 0], sum: 150 };
        assert_eq!(filled.quantile(0.5), Some(15.0));
        assert_eq!(filled.quantile(1.0), Some(20.0));
        assert_eq!(Distribution { bounds, counts: vec![0, 0, 0], sum: 0 }.quantile(0.5), None);
    }
}
