//! Which pod addresses are free.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use parking_lot::Mutex;

/// Hands out addresses of a range. An address that was given back is used again as late as possible, so that a client
/// with a stale endpoint meets nobody rather than a stranger.
pub struct Ipam {
    range: Ipv4Net,
    state: Mutex<State>,
}

struct State {
    next: u32,
    used: BTreeSet<u32>,
}

/// The first addresses are for the node itself.
const RESERVED: u32 = 2;

impl Ipam {
    /// An allocator in which every address of the range but the first few is free.
    pub fn new(range: Ipv4Net) -> Self {
        Self { range, state: Mutex::new(State { next: RESERVED, used: BTreeSet::new() }) }
    }

    /// A free address, or `None` when all are in use.
    pub fn take(&self) -> Option<Ipv4Addr> {
        let mut state = self.state.lock();
        let size = 1_u32.checked_shl(u32::from(32 - self.range.prefix_len())).unwrap_or(u32::MAX) - 1;
        for _ in RESERVED..size {
            let offset = state.next;
            state.next = if offset + 1 >= size { RESERVED } else { offset + 1 };
            if state.used.insert(offset) {
                return Some(Ipv4Addr::from(u32::from(self.range.network()) + offset));
            }
        }
        None
    }

    /// Gives an address back.
    pub fn release(&self, address: Ipv4Addr) {
        let offset = u32::from(address).wrapping_sub(u32::from(self.range.network()));
        self.state.lock().used.remove(&offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct_and_reused_late() {
        let ipam = Ipam::new("10.0.0.0/29".parse().unwrap());
        let all: Vec<_> = std::iter::from_fn(|| ipam.take()).collect();
        let expected: Vec<Ipv4Addr> = (2..7).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        assert_eq!(all, expected);
        ipam.release(expected[3]);
        ipam.release(expected[0]);
        assert_eq!(ipam.take(), Some(expected[0]));
        assert_eq!(ipam.take(), Some(expected[3]));
        assert_eq!(ipam.take(), None);
    }
}
