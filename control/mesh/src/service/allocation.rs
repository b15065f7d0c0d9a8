//! Virtual IPs for hosts of ServiceEntries that declare none.
//!
//! An address follows from the host's name, so that it is the same after a restart and in every replica; only of two hosts
//! that meet on one address, the later gets the next. What a status promises is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use meltemi_config::Object;
use meltemi_config::istio::ServiceEntry;

use super::ServiceKey;

/// 240.240.0.0/16, which no network routes.
const NET: [u8; 2] = [240, 240];

/// Which host has which address.
#[derive(Debug, Default)]
pub struct Allocation {
    by_key: BTreeMap<ServiceKey, u16>,
    used: BTreeSet<u16>,
}

impl Allocation {
    /// The address of a host: the one that was promised to it if that is free, else the one it has, else a free one.
    /// `None` when all are given away.
    ///
    /// Promises go first so that control planes which gave away different ones agree on what was written down.
    pub fn give(&mut self, key: &ServiceKey, promised: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let promised = promised.and_then(index_of).filter(|index| !self.used.contains(index));
        match (promised, self.by_key.get(key)) {
            (None, Some(index)) => return Some(address(*index)),
            (Some(_), Some(_)) => self.take_back(key),
            (_, None) => {}
        }
        let index = promised.or_else(|| self.free(first(key)))?;
        self.used.insert(index);
        self.by_key.insert(key.clone(), index);
        Some(address(index))
    }

    /// The host is gone.
    pub fn take_back(&mut self, key: &ServiceKey) {
        if let Some(index) = self.by_key.remove(key) {
            self.used.remove(&index);
        }
    }

    /// The first free address from `start` on, around the end.
    fn free(&self, start: u16) -> Option<u16> {
        let all = (0..=u16::MAX).map(|step| start.wrapping_add(step));
        all.filter(|index| is_host(*index)).find(|index| !self.used.contains(index))
    }
}

/// Is it one of those that are given away here?
pub fn is_ours(address: Ipv4Addr) -> bool {
    index_of(address).is_some()
}

fn address(index: u16) -> Ipv4Addr {
    let [high, low] = index.to_be_bytes();
    Ipv4Addr::new(NET[0], NET[1], high, low)
}

fn index_of(address: Ipv4Addr) -> Option<u16> {
    match address.octets() {
        [a, b, high, low] if [a, b] == NET => Some(u16::from_be_bytes([high, low])).filter(|i| is_host(*i)),
        _ => None,
    }
}

/// Addresses that end in 0 or 255 look like those of networks.
fn is_host(index: u16) -> bool {
    !matches!(index & 0xff, 0 | 0xff)
}

/// Where the search begins (FNV-1a, folded).
fn first(key: &ServiceKey) -> u16 {
    let bytes = key.namespace.bytes().chain([0]).chain(key.hostname.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as u16 ^ hash as u16
}

/// The addresses that an entry's status promises, by host.
pub fn promised(object: &Object<ServiceEntry>) -> BTreeMap<String, Ipv4Addr> {
    let status = object.status.as_ref().and_then(|status| status.get("addresses")?.as_array());
    let entries = status.into_iter().flatten().filter_map(|entry| {
        let host = entry.get("host")?.as_str()?.to_ascii_lowercase();
        Some((host, entry.get("value")?.as_str()?.parse().ok()?))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str) -> ServiceKey {
        ServiceKey { hostname: host.to_owned(), namespace: "default".to_owned() }
    }

    #[test]
    fn an_address_follows_from_the_name_and_stays() {
        let (mut one, mut other) = (Allocation::default(), Allocation::default());
        let hosts: Vec<String> = (0..50).map(|i| format!("host-{i}.example")).collect();
        let forth: Vec<_> = hosts.iter().map(|host| one.give(&key(host), None).unwrap()).collect();
        let back: Vec<_> = hosts.iter().rev().map(|host| other.give(&key(host), None).unwrap()).collect();
        assert!(forth.iter().eq(back.iter().rev()), "whatever the order, while none meet");
        assert!(forth.iter().all(|ip| ip.octets()[..2] == NET && !matches!(ip.octets()[3], 0 | 255)));
        assert_eq!(one.give(&key("host-7.example"), None), Some(forth[7]));
    }

    #[test]
    fn two_hosts_never_share_one() {
        let mut all = Allocation::default();
        let taken = all.give(&key("a"), None).unwrap();
        assert_ne!(all.give(&key("b"), Some(taken)), Some(taken), "promised, but not free");
        assert_eq!(
            all.give(&key("c"), Some(Ipv4Addr::new(240, 240, 9, 9))),
            Some(Ipv4Addr::new(240, 240, 9, 9))
        );
        assert_ne!(all.give(&key("d"), Some(Ipv4Addr::new(10, 0, 0, 1))), Some(Ipv4Addr::new(10, 0, 0, 1)));
        let elsewhere = Ipv4Addr::new(240, 240, 7, 7);
        assert_eq!(all.give(&key("b"), Some(elsewhere)), Some(elsewhere), "what was written down counts");
        assert_eq!(all.give(&key("b"), None), Some(elsewhere));
        all.take_back(&key("a"));
        assert_eq!(all.give(&key("e"), Some(taken)), Some(taken));
    }

    #[test]
    fn when_all_are_given_away_there_is_none() {
        let mut all = Allocation::default();
        let mut given = BTreeSet::new();
        while let Some(address) = all.give(&key(&format!("h{}", given.len())), None) {
            assert!(given.insert(address));
        }
        assert_eq!(given.len(), 256 * 254);
    }
}
