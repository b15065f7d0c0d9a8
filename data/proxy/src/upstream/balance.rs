//! Choosing a host: first a priority, then a locality, then a host. Pure: all randomness comes with the request.

pub mod hashing;
pub mod priority;
pub mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::hashing::HashTable;
use self::priority::Load;
use self::schedule::Schedule;
use super::host::{Health, Host, Locality};

/// The cluster's `lb_policy` and its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Which algorithm.
    pub policy: Policy,
    /// Below this share of available hosts (percent) all hosts are used; 0 turns panic off.
    pub panic_percent: u32,
    /// How many times its share of hosts a priority may carry, in percent (140: a loss of 28 % spills nothing over).
    pub overprovisioning: u32,
    /// Traffic is spread over localities by the weights the control plane gave them.
    pub locality_weighted: bool,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            policy: Policy::RoundRobin,
            panic_percent: 50,
            overprovisioning: 140,
            locality_weighted: false,
        }
    }
}

/// The algorithm within one locality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// In turn, by weight.
    RoundRobin,
    /// The least busy of `choices` random hosts.
    LeastRequest {
        /// How many hosts are compared.
        choices: u32,
    },
    /// Any, by weight.
    Random,
    /// Consistent hashing on a ring.
    RingHash {
        /// Smallest ring.
        min: u64,
        /// Largest ring.
        max: u64,
    },
    /// Consistent hashing by Maglev's table.
    Maglev {
        /// Size of the table, a prime.
        size: u64,
    },
}

/// What a request brings to the choice.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pick<'a> {
    /// From the route's hash policy.
    pub hash: Option<u64>,
    /// A uniformly drawn number.
    pub random: u64,
    /// Hosts that a retry should avoid.
    pub avoid: &'a [u64],
}

/// Attempts to find a host that is not to be avoided, as Envoy's `host_selection_retry_max_attempts` has it by default.
const AVOID_ATTEMPTS: usize = 3;

/// Everything a choice needs, prebuilt for one host set.
#[derive(Debug, Default)]
pub struct Picker {
    load: Load,
    priorities: Vec<Priority>,
}

#[derive(Debug)]
struct Priority {
    healthy: Group,
    degraded: Group,
    all: Group,
    panic: bool,
}

/// Hosts of one priority and health, by locality.
#[derive(Debug, Default)]
struct Group {
    localities: Vec<Table>,
    /// Localities in the order they take turns; empty when all hosts are in one table.
    turns: Schedule,
    next: AtomicUsize,
}

/// The hosts of one locality (or of all) with their algorithm's table.
#[derive(Debug)]
struct Table {
    hosts: Vec<Arc<Host>>,
    schedule: Schedule,
    hashed: Option<HashTable>,
    next: AtomicUsize,
    policy: Policy,
}

/// The weight of a locality, as the control plane gave it.
pub type LocalityWeight<'a> = &'a dyn Fn(&Host) -> u32;

impl Picker {
    /// Builds the tables.
    pub fn build(hosts: &[Arc<Host>], balance: &Balance, weight_of: LocalityWeight<'_>) -> Self {
        let count = hosts.iter().map(|h| h.priority + 1).max().unwrap_or(0);
        let mut counts = Vec::new();
        let mut priorities = Vec::new();
        for priority in 0..count {
            let members: Vec<&Arc<Host>> =
                hosts.iter().filter(|h| h.priority == priority && h.health != Health::Draining).collect();
            let of =
                |health| members.iter().filter(|h| h.health == health).copied().cloned().collect::<Vec<_>>();
            let (healthy, degraded) = (of(Health::Healthy), of(Health::Degraded));
            counts.push(priority::Count {
                healthy: healthy.len(),
                degraded: degraded.len(),
                total: members.len(),
            });
            let available = (healthy.len() + degraded.len()) * 100;
            priorities.push(Priority {
                panic: available < members.len() * balance.panic_percent as usize,
                healthy: Group::build(healthy, balance, weight_of),
                degraded: Group::build(degraded, balance, weight_of),
                all: Group::build(members.into_iter().cloned().collect(), balance, weight_of),
            });
        }
        Self { load: Load::compute(&counts, balance.overprovisioning), priorities }
    }

    /// Chooses a host; `None` when there is none to choose from.
    pub fn pick(&self, pick: Pick<'_>) -> Option<Arc<Host>> {
        let mut chosen = self.pick_once(pick)?;
        for attempt in 1..=AVOID_ATTEMPTS {
            if !pick.avoid.contains(&chosen.id) {
                break;
            }
            // Another draw, so that random and hashed choices differ as well.
            let random = pick.random.rotate_left(attempt as u32 * 7) ^ attempt as u64;
            chosen = self.pick_once(Pick { random, hash: pick.hash.map(|h| h ^ random), ..pick })?;
        }
        Some(chosen)
    }

    fn pick_once(&self, pick: Pick<'_>) -> Option<Arc<Host>> {
        let (index, degraded) = self.load.choose(pick.hash.unwrap_or(pick.random))?;
        let priority = self.priorities.get(index)?;
        if priority.panic {
            return priority.all.pick(pick);
        }
        if degraded { priority.degraded.pick(pick) } else { priority.healthy.pick(pick) }
    }
}

impl Group {
    fn build(hosts: Vec<Arc<Host>>, balance: &Balance, weight_of: LocalityWeight<'_>) -> Self {
        if !balance.locality_weighted {
            let localities =
                if hosts.is_empty() { vec![] } else { vec![Table::build(hosts, balance.policy)] };
            return Self { localities, ..Self::default() };
        }
        let mut by_locality: Vec<(Arc<Locality>, Vec<Arc<Host>>)> = Vec::new();
        for host in hosts {
            match by_locality.iter_mut().find(|(l, _)| *l == host.locality) {
                Some((_, members)) => members.push(host),
                None => by_locality.push((host.locality.clone(), vec![host])),
            }
        }
        by_locality.retain(|(_, members)| members.first().is_some_and(|h| weight_of(h) > 0));
        let weights: Vec<u32> =
            by_locality.iter().map(|(_, members)| members.first().map_or(0, |h| weight_of(h))).collect();
        let localities =
            by_locality.into_iter().map(|(_, hosts)| Table::build(hosts, balance.policy)).collect();
        Self { localities, turns: Schedule::build(&weights), next: AtomicUsize::new(0) }
    }

    fn pick(&self, pick: Pick<'_>) -> Option<Arc<Host>> {
        let table = match self.localities.as_slice() {
            [] => return None,
            [only] => only,
            many => many.get(self.turns.at(self.next.fetch_add(1, Ordering::Relaxed)))?,
        };
        table.pick(pick)
    }
}

impl Table {
    fn build(hosts: Vec<Arc<Host>>, policy: Policy) -> Self {
        let weights: Vec<u32> = hosts.iter().map(|h| h.weight).collect();
        let hashed = match policy {
            Policy::RingHash { min, max } => Some(HashTable::ring(&hosts, min, max)),
            Policy::Maglev { size } => Some(HashTable::maglev(&hosts, size)),
            _ => None,
        };
        let schedule = if hashed.is_some() { Schedule::default() } else { Schedule::build(&weights) };
        // A random start, so that many proxies do not all begin with the same host.
        Self { hosts, schedule, hashed, next: AtomicUsize::new(fastrand::usize(..1 << 20)), policy }
    }

    fn pick(&self, pick: Pick<'_>) -> Option<Arc<Host>> {
        let host = match self.policy {
            Policy::RoundRobin => self.hosts.get(self.schedule.at(self.next.fetch_add(1, Ordering::Relaxed))),
            Policy::Random => self.drawn(pick.random),
            Policy::LeastRequest { choices } => self.least_busy(pick.random, choices),
            Policy::RingHash { .. } | Policy::Maglev { .. } => {
                let at = self.hashed.as_ref()?.at(pick.hash.unwrap_or(pick.random))?;
                self.hosts.get(at)
            }
        };
        host.cloned()
    }

    fn drawn(&self, random: u64) -> Option<&Arc<Host>> {
        let turn = random % self.schedule.len().max(1) as u64;
        self.hosts.get(self.schedule.at(turn as usize))
    }

    fn least_busy(&self, random: u64, choices: u32) -> Option<&Arc<Host>> {
        let first = self.drawn(random)?;
        let mut best = first;
        let mut state = random;
        for _ in 1..choices.max(2) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut other = self.drawn(state >> 16)?;
            if Arc::ptr_eq(other, best) && self.hosts.len() > 1 {
                let at = self.hosts.iter().position(|h| Arc::ptr_eq(h, other))?;
                other = self.hosts.get((at + 1) % self.hosts.len())?;
            }
            if other.active() < best.active() {
                best = other;
            }
        }
        Some(best)
    }
}

#[cfg(test)]
mod tests;
