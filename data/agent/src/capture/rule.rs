//! One rule, as a value; how iptables writes it is in `restore`, how nft writes it in `nft`.

use ipnet::IpNet;

/// A table of the kernel's packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Packets are changed or marked.
    Mangle,
    /// Connections are redirected.
    Nat,
    /// Before connection tracking.
    Raw,
}

impl Table {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Mangle, Self::Nat, Self::Raw];
}

/// A chain: two of the kernel's own, and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Chain {
    Prerouting,
    Output,
    Inbound,
    Redirect,
    InRedirect,
    IstioOutput,
    OutputDns,
    Divert,
    Tproxy,
    IstioDrop,
}

impl Chain {
    /// Does the kernel have it by itself?
    pub fn is_hook(self) -> bool {
        matches!(self, Self::Prerouting | Self::Output)
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of a network.
    pub(super) fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// The address from which the proxy dials the application when it passes inbound traffic through.
    pub(super) fn passthrough(self) -> IpNet {
        match self {
            Self::V4 => IpNet::from(std::net::IpAddr::from([127, 0, 0, 6])),
            Self::V6 => IpNet::from(std::net::IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6u16])),
        }
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Protocol TCP.
    Tcp,
    /// Protocol UDP.
    Udp,
    /// Destination port.
    Port(u16),
    /// Any other destination port.
    NotPort(u16),
    /// Any destination port but these.
    NotPorts(Vec<u16>),
    /// Source port.
    SourcePort(u16),
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

impl Match {
    /// The family that this condition limits a rule to.
    fn family(&self) -> Option<Family> {
        match self {
            Self::From(net) | Self::To(net) | Self::NotTo(net) => Some(Family::of(net)),
            _ => None,
        }
    }
}

/// What happens to a packet for which all conditions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Back to the calling chain.
    Return,
    /// On in another chain.
    Jump(Chain),
    /// To this port of this machine.
    Redirect(u16),
    /// To the transparent socket on this port, marked.
    Tproxy {
        /// The port.
        port: u16,
        /// The mark.
        mark: u32,
    },
    /// No other rule of the table matters.
    Accept,
    /// Lost.
    Drop,
    /// Marks the packet.
    SetMark(u32),
    /// The packet's mark becomes the connection's.
    SaveMark,
    /// The connection's mark becomes the packet's.
    RestoreMark,
    /// Connection tracking keeps it apart from other zones.
    Zone(u16),
}

/// A rule at the end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Table it belongs to.
    pub table: Table,
    /// Chain it belongs to.
    pub chain: Chain,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
}

impl Rule {
    /// The only family that it concerns, when it does not concern both.
    pub fn family(&self) -> Option<Family> {
        self.matches.iter().find_map(Match::family)
    }
}
