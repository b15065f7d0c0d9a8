//! Consistent hashing: a ring, and Maglev's table.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::upstream::host::Host;

/// A table from hashes to positions in the list of hosts.
#[derive(Debug)]
pub enum HashTable {
    /// Points on a ring, sorted.
    Ring(Vec<(u64, u32)>),
    /// One host a slot.
    Maglev(Vec<u32>),
}

impl HashTable {
    /// A ring on which each host has points in proportion to its weight.
    pub fn ring(hosts: &[Arc<Host>], min: u64, max: u64) -> Self {
        let sum: u64 = hosts.iter().map(|h| u64::from(h.weight)).sum();
        let lightest = hosts.iter().map(|h| u64::from(h.weight)).min().unwrap_or(1).max(1);
        let points = (sum.div_ceil(lightest)).max(min).min(max.max(1));
        let mut ring = Vec::with_capacity(points as usize);
        for (position, host) in hosts.iter().enumerate() {
            let share = (points * u64::from(host.weight)).div_ceil(sum.max(1));
            let key = key(host);
            ring.extend((0..share).map(|i| (xxh64(format!("{key}_{i}").as_bytes(), 0), position as u32)));
        }
        ring.sort_unstable();
        Self::Ring(ring)
    }

    /// Maglev's permutation table; `size` must be a prime.
    pub fn maglev(hosts: &[Arc<Host>], size: u64) -> Self {
        const FREE: u32 = u32::MAX;
        let mut table = vec![FREE; if hosts.is_empty() { 0 } else { size as usize }];
        let heaviest = hosts.iter().map(|h| h.weight).max().unwrap_or(1);
        let mut walks: Vec<(u64, u64, u64)> = hosts
            .iter()
            .map(|host| {
                let key = key(host);
                (xxh64(key.as_bytes(), 0) % size, xxh64(key.as_bytes(), 1) % (size - 1) + 1, 0)
            })
            .collect();
        let mut filled = 0;
        let mut round = 0u64;
        while filled < table.len() {
            round += 1;
            for (position, walk) in walks.iter_mut().enumerate() {
                // A host takes its turn only as often as its weight asks for.
                if round * u64::from(hosts[position].weight) < walk.2 * u64::from(heaviest) {
                    continue;
                }
                walk.2 += 1;
                while table[walk.0 as usize] != FREE {
                    walk.0 = (walk.0 + walk.1) % size;
                }
                table[walk.0 as usize] = position as u32;
                filled += 1;
                if filled == table.len() {
                    break;
                }
            }
        }
        Self::Maglev(table)
    }

    /// The host for a hash.
    pub fn at(&self, hash: u64) -> Option<usize> {
        match self {
            Self::Ring(ring) => {
                let at = ring.partition_point(|(point, _)| *point < hash);
                ring.get(at).or_else(|| ring.first()).map(|(_, position)| *position as usize)
            }
            Self::Maglev(table) if table.is_empty() => None,
            Self::Maglev(table) => Some(table[(hash % table.len() as u64) as usize] as usize),
        }
    }
}

fn key(host: &Host) -> String {
    if host.hostname.is_empty() {
        host.address.to_string()
    } else {
        format!("{}|{}", host.hostname, host.address)
    }
}
