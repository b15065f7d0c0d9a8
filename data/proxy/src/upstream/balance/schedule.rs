//! Weighted turns, spread as evenly as possible: weights 3 and 1 give `a a b a`, not `a a a b`.

/// Longest cycle; heavier weight sums are scaled down to it.
const LONGEST: u64 = 4096;

/// Who is next, as positions in the list the weights came from. Equal weights need no table.
#[derive(Debug, Default, Clone)]
pub struct Schedule {
    count: usize,
    turns: Vec<u32>,
}

impl Schedule {
    /// Builds the cycle for a list of weights.
    pub fn build(weights: &[u32]) -> Self {
        let count = weights.len();
        if weights.windows(2).all(|w| w[0] == w[1]) {
            return Self { count, turns: Vec::new() };
        }
        let divisor = weights.iter().fold(0, |a, b| gcd(a, u64::from(*b))).max(1);
        let mut weights: Vec<u64> = weights.iter().map(|w| u64::from(*w) / divisor).collect();
        let sum: u64 = weights.iter().sum();
        if sum > LONGEST {
            for weight in weights.iter_mut().filter(|w| **w > 0) {
                *weight = (*weight * LONGEST / sum).max(1);
            }
        }
        Self { count, turns: smooth(&weights) }
    }

    /// Length of the cycle.
    pub fn len(&self) -> usize {
        if self.turns.is_empty() { self.count } else { self.turns.len() }
    }

    /// Whether there is nobody to take a turn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whose turn it is at `step`.
    pub fn at(&self, step: usize) -> usize {
        match (self.turns.len(), self.count) {
            (0, 0) => 0,
            (0, count) => step % count,
            (len, _) => self.turns[step % len] as usize,
        }
    }
}

/// Smooth weighted round robin: the one that waited longest for its share goes next.
fn smooth(weights: &[u64]) -> Vec<u32> {
    let sum: u64 = weights.iter().sum();
    let mut credit = vec![0i64; weights.len()];
    (0..sum)
        .map(|_| {
            let mut best = 0;
            for (i, weight) in weights.iter().enumerate() {
                credit[i] += *weight as i64;
                if credit[i] > credit[best] {
                    best = i;
                }
            }
            credit[best] -= sum as i64;
            best as u32
        })
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn turns_are_spread() {
        let schedule = Schedule::build(&[3, 1]);
        let turns: Vec<usize> = (0..4).map(|i| schedule.at(i)).collect();
        assert_eq!(turns, [0, 0, 1, 0]);
    }

    proptest! {
        #[test]
        fn every_cycle_holds_each_weight_exactly(weights in prop::collection::vec(1u32..50, 1..8)) {
            let schedule = Schedule::build(&weights);
            let mut seen = vec![0u64; weights.len()];
            for step in 0..schedule.len() { seen[schedule.at(step)] += 1; }
            for i in 1..weights.len() {
                prop_assert_eq!(seen[i] * u64::from(weights[0]), seen[0] * u64::from(weights[i]));
            }
        }
    }
}
