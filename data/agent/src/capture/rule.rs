//! One rule, as a value.

use std::fmt;

use ipnet::IpNet;

/// A table of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Packets are changed or marked.
    Mangle,
    /// Connections are redirected.
    Nat,
}

impl Table {
    /// As written in iptables-save.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Nat => "nat",
        }
    }
}

/// IPv4 or IPv6: one program each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

impl Family {
    /// The loopback address, as a network.
    pub(super) fn localhost(self) -> IpNet {
        match self {
            Self::V4 => IpNet::from(std::net::IpAddr::from([127, 0, 0, 1])),
            Self::V6 => IpNet::from(std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
        }
    }

    /// The address from which the proxy dials the application when it passes inbound traffic through.
    pub(super) fn passthrough(self) -> IpNet {
        match self {
            Self::V4 => IpNet::from(std::net::IpAddr::from([127, 0, 0, 6])),
            Self::V6 => IpNet::from(std::net::IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6u16])),
        }
    }

    /// The address ranges of this family.
    pub(super) fn only(self, nets: &[IpNet]) -> impl Iterator<Item = &IpNet> {
        nets.iter()
            .filter(move |net| matches!((self, net), (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_))))
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Protocol TCP.
    Tcp,
    /// Destination port.
    Port(u16),
    /// Any other destination port.
    NotPort(u16),
    /// Arrived on this interface.
    In(String),
    /// Leaves by this interface.
    Out(String),
    /// Source address.
    From(IpNet),
    /// Destination address.
    To(IpNet),
    /// Any other destination address.
    NotTo(IpNet),
    /// Sent by this user.
    Uid(u32),
    /// Sent by any other user.
    NotUid(u32),
    /// Sent by this group.
    Gid(u32),
    /// Sent by any other group.
    NotGid(u32),
    /// Mark of the packet or its socket.
    Mark(u32),
    /// Any other mark.
    NotMark(u32),
    /// Mark of the connection.
    ConnMark(u32),
    /// Belongs to a connection known to connection tracking.
    Established,
    /// Makes no sense to connection tracking.
    Invalid,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => write!(f, "-p tcp"),
            Self::Port(port) => write!(f, "--dport {port}"),
            Self::NotPort(port) => write!(f, "! --dport {port}"),
            Self::In(name) => write!(f, "-i {name}"),
            Self::Out(name) => write!(f, "-o {name}"),
            Self::From(net) => write!(f, "-s {net}"),
            Self::To(net) => write!(f, "-d {net}"),
            Self::NotTo(net) => write!(f, "! -d {net}"),
            Self::Uid(id) => write!(f, "-m owner --uid-owner {id}"),
            Self::NotUid(id) => write!(f, "-m owner ! --uid-owner {id}"),
            Self::Gid(id) => write!(f, "-m owner --gid-owner {id}"),
            Self::NotGid(id) => write!(f, "-m owner ! --gid-owner {id}"),
            Self::Mark(mark) => write!(f, "-m mark --mark {mark}"),
            Self::NotMark(mark) => write!(f, "-m mark ! --mark {mark}"),
            Self::ConnMark(mark) => write!(f, "-m connmark --mark {mark}"),
            Self::Established => write!(f, "-m conntrack --ctstate RELATED,ESTABLISHED"),
            Self::Invalid => write!(f, "-m conntrack --ctstate INVALID"),
        }
    }
}

/// A rule at the end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Table it belongs to.
    pub table: Table,
    /// Chain it belongs to.
    pub chain: &'static str,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What happens then: `RETURN`, a chain, or a target with its options.
    pub target: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-A {}", self.chain)?;
        self.matches.iter().try_for_each(|part| write!(f, " {part}"))?;
        write!(f, " -j {}", self.target)
    }
}
