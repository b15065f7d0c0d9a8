//! Weighted turns, spread as evenly as possible: weights 3 and 1 give `a a b a`, not `a a a b`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Length of a cycle in the units in which turns are placed in it.
const LARGEST: u64 = 1 << 40;
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

/// Each one's turns lie evenly in the cycle, every one in the middle of its part: whose next turn lies first goes next.
fn smooth(weights: &[u64]) -> Vec<u32> {
    let sum: u64 = weights.iter().sum();
    // Turn `k` of weight `w` lies at `(2k + 1) / 2w` of the cycle; in whole numbers, so that equal places are equal.
    let place = |turn: u64, weight: u64| u128::from(2 * turn + 1) * u128::from(LARGEST) / u128::from(weight);
    let entry = |(i, weight): (usize, &u64)| (*weight > 0).then(|| Reverse((place(0, *weight), i, 0)));
    let mut next: BinaryHeap<_> = weights.iter().enumerate().filter_map(entry).collect();
    let mut turns = Vec::with_capacity(sum as usize);
    while let Some(Reverse((_, i, turn))) = next.pop() {
        turns.push(i as u32);
        let turn = turn + 1;
        if turn < weights[i] {
            next.push(Reverse((place(turn, weights[i]), i, turn)));
        }
    }
    turns
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
