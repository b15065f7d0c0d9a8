//! The cluster's network: addresses, and a namespace with a routed veth for each pod.
//!
//! The cluster's own namespace (the daemon's) routes between pods: each pod has a `/32` address on `eth0` and its default
//! route via `169.254.1.1`, which lives on the cluster's `lo`. There is no bridge, so pods cannot see each other's frames.

mod ipam;
pub mod netlink;
mod pod;

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use ipam::Ipam;
pub use pod::PodNetwork;

use crate::sys;
use netlink::Netlink;

/// The address of the node: what pods see as the source of probes and of connections from outside.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The gateway of every pod.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Where the API server's service is.
pub const API_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Where the cluster's DNS is.
pub const DNS_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The addresses that pods get.
pub fn pod_cidr() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)
}

/// The addresses that services get.
pub fn service_cidr() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)
}

/// Sets up the calling thread's network namespace as the cluster's: addresses on `lo`, routes, forwarding.
pub fn prepare_cluster() -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let lo = netlink::index_of("lo")?;
    netlink.set_up(lo)?;
    for address in [NODE_IP, GATEWAY, API_IP, DNS_IP] {
        netlink.add_address(lo, address)?;
    }
    // A connection from the daemon to a service address needs a route before nft rewrites it, and so do those to the
    // outside from within this namespace, for the address to be chosen; what nft does not know is rejected there.
    netlink.add_route(service_cidr(), lo, None, Some(NODE_IP))?;
    for (path, value) in [
        ("/proc/sys/net/ipv4/ip_forward", "1"),
        ("/proc/sys/net/ipv4/conf/all/rp_filter", "0"),
        ("/proc/sys/net/ipv4/conf/default/rp_filter", "0"),
        ("/proc/sys/net/ipv4/conf/all/send_redirects", "0"),
        ("/proc/sys/net/ipv4/conf/default/send_redirects", "0"),
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ] {
        sys::write_proc(path, value)?;
    }
    Ok(())
}
