//! Address ranges.

use std::net::IpAddr;

use ipnet::IpNet;
use meltemi_proto::envoy::config::core::v3::CidrRange;

use crate::base::reject::{Compiled, Reject};

/// Compiles one range; an absent length is zero, so it holds every address of its family.
pub fn compile(proto: &CidrRange) -> Compiled<IpNet> {
    let ip: IpAddr = proto.address_prefix.parse().map_err(|_| {
        Reject::new("address_prefix", format!("{:?} is not an IP address", proto.address_prefix))
    })?;
    let length = proto.prefix_len.as_ref().map_or(0, |v| v.value);
    let length = u8::try_from(length).ok().and_then(|length| IpNet::new(ip, length).ok());
    length.map(|net| net.trunc()).ok_or_else(|| Reject::new("prefix_len", "is longer than the address"))
}

/// The IPv4 address inside an IPv4-mapped IPv6 one.
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}
