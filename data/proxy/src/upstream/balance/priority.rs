//! How load is spread over priorities: as much on priority 0 as its health (times the over-provisioning factor) allows.

/// Hosts of one priority.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// Healthy ones.
    pub healthy: usize,
    /// Degraded ones.
    pub degraded: usize,
    /// All, without draining ones.
    pub total: usize,
}

/// Percent of the load for the healthy and the degraded hosts of each priority; the sum is 100 unless all are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Load {
    shares: Vec<(u32, u32)>,
}

impl Load {
    /// Computes the shares by Envoy's documented rule.
    pub fn compute(counts: &[Count], overprovisioning: u32) -> Self {
        let health = |part: usize, total: usize| {
            (part * overprovisioning as usize).checked_div(total).map_or(0, |percent| percent.min(100) as u32)
        };
        let healths: Vec<(u32, u32)> =
            counts.iter().map(|c| (health(c.healthy, c.total), health(c.degraded, c.total))).collect();
        let normal = healths.iter().map(|(h, d)| h + d).sum::<u32>().min(100);
        let mut shares = vec![(0, 0); counts.len()];
        if normal == 0 {
            // Nobody is available: the first priority with hosts takes everything (and panics).
            if let Some(first) = counts.iter().position(|c| c.total > 0) {
                shares[first].0 = 100;
            }
            return Self { shares };
        }
        let mut left = 100;
        for (share, (healthy, _)) in shares.iter_mut().zip(&healths) {
            share.0 = (healthy * 100 / normal).min(left);
            left -= share.0;
        }
        for (share, (_, degraded)) in shares.iter_mut().zip(&healths) {
            share.1 = (degraded * 100 / normal).min(left);
            left -= share.1;
        }
        // What rounding left over goes to the first that carries anything.
        if let Some(share) = shares.iter_mut().find(|share| share.0 + share.1 > 0) {
            if share.0 > 0 { share.0 += left } else { share.1 += left }
        }
        Self { shares }
    }

    /// The priority for a drawn number, and whether its degraded hosts are meant.
    pub fn choose(&self, random: u64) -> Option<(usize, bool)> {
        if let [(100, _)] = self.shares.as_slice() {
            return Some((0, false));
        }
        let mut left = (random % 100) as u32;
        for (index, (healthy, _)) in self.shares.iter().enumerate() {
            if left < *healthy {
                return Some((index, false));
            }
            left -= healthy;
        }
        for (index, (_, degraded)) in self.shares.iter().enumerate() {
            if left < *degraded {
                return Some((index, true));
            }
            left -= degraded;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_follows_envoys_documented_table() {
        let of = |p0: usize, p1: usize| {
            let counts = [(p0), (p1)].map(|healthy| Count { healthy, degraded: 0, total: 100 });
            Load::compute(&counts, 140).shares.into_iter().map(|s| s.0).collect::<Vec<_>>()
        };
        assert_eq!(of(100, 100), [100, 0]);
        assert_eq!(of(72, 72), [100, 0]);
        assert_eq!(of(71, 71), [99, 1]);
        assert_eq!(of(50, 50), [70, 30]);
        assert_eq!(of(25, 100), [35, 65]);
        assert_eq!(of(25, 25), [50, 50]);
        assert_eq!(of(0, 100), [0, 100]);
    }

    #[test]
    fn degraded_hosts_take_what_healthy_ones_cannot() {
        let counts = [Count { healthy: 25, degraded: 75, total: 100 }];
        assert_eq!(Load::compute(&counts, 140).shares, [(35, 65)]);
    }
}
