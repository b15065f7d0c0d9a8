//! Where something listens or is dialled.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::config::core::v3::address::Address as ProtoAddress;
use meltemi_proto::envoy::config::core::v3::socket_address::PortSpecifier;

use super::reject::{Compiled, Reject, required};

/// An address of a listener or a host, after any name has been resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP and port.
    Ip(SocketAddr),
    /// A Unix domain socket.
    Pipe(Arc<PathBuf>),
}

impl Address {
    /// The socket address, if this is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            Self::Pipe(_) => None,
        }
    }

    /// Port 0, for which the system takes a free one.
    pub fn is_any_port(&self) -> bool {
        self.ip().is_some_and(|addr| addr.port() == 0)
    }

    /// Compiles an address that must be an IP literal or a pipe (listeners, EDS and static endpoints).
    pub fn compile(proto: &core::Address) -> Compiled<Self> {
        match Target::compile(proto)? {
            Target::Resolved(address) => Ok(address),
            Target::Name(name, _) => Err(Reject::new(
                "socket_address.address",
                format!("{name:?} is not an IP address; use a DNS cluster"),
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Pipe(path) => path.display().fmt(f),
        }
    }
}

/// An address as configured: for DNS clusters the host may be a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Nothing to resolve.
    Resolved(Address),
    /// A DNS name and a port.
    Name(Arc<str>, u16),
}

impl Target {
    /// Compiles any address.
    pub fn compile(proto: &core::Address) -> Compiled<Self> {
        match required("address", &proto.address)? {
            ProtoAddress::SocketAddress(socket) => Self::socket(socket).map_err(|r| r.at("socket_address")),
            ProtoAddress::Pipe(pipe) if pipe.path.is_empty() => Err(Reject::new("pipe.path", "is empty")),
            ProtoAddress::Pipe(pipe) => {
                Ok(Self::Resolved(Address::Pipe(Arc::new(PathBuf::from(&pipe.path)))))
            }
            ProtoAddress::EnvoyInternalAddress(_) => {
                Err(Reject::new("envoy_internal_address", "internal listeners are not supported yet"))
            }
        }
    }

    fn socket(proto: &core::SocketAddress) -> Compiled<Self> {
        let port = match &proto.port_specifier {
            None => 0,
            Some(PortSpecifier::PortValue(port)) => u16::try_from(*port)
                .map_err(|_| Reject::new("port_value", format!("{port} is not a port (0-65535)")))?,
            Some(PortSpecifier::NamedPort(name)) => {
                return Err(Reject::new("named_port", format!("{name:?}: named ports are not supported")));
            }
        };
        if proto.address.is_empty() {
            return Err(Reject::new("address", "is empty"));
        }
        Ok(match proto.address.parse::<IpAddr>() {
            Ok(ip) => Self::Resolved(Address::Ip(SocketAddr::new(ip, port))),
            Err(_) => Self::Name(proto.address.as_str().into(), port),
        })
    }
}
