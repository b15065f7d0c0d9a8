//! All listeners by address, as the workers see them. Replaced whole; a worker reads the current one for each connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use super::Listener;
use crate::base::address::Address;
use crate::matcher::cidr::canonical;

/// Listeners by address.
#[derive(Debug, Default)]
pub struct Table {
    by_address: HashMap<Address, Arc<Listener>>,
}

/// The cell all workers read.
pub type SharedTable = Arc<ArcSwap<Table>>;

impl Table {
    /// A table of these listeners, under the addresses they are reached at.
    pub fn new(entries: impl IntoIterator<Item = (Address, Arc<Listener>)>) -> Self {
        Self { by_address: entries.into_iter().collect() }
    }

    /// The listener bound to an address.
    pub fn at(&self, address: &Address) -> Option<&Arc<Listener>> {
        self.by_address.get(address)
    }

    /// The listener for an original destination: its own, else the one for its port on any address.
    pub fn for_destination(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        let ip = canonical(destination.ip());
        let at = |ip: IpAddr| self.by_address.get(&Address::Ip(SocketAddr::new(ip, destination.port())));
        let any_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match ip {
            IpAddr::V4(_) => at(ip).or_else(|| at(any_v4)).or_else(|| at(any_v6)),
            IpAddr::V6(_) => at(ip).or_else(|| at(any_v6)),
        }
    }
}
