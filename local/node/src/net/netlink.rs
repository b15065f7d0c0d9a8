//! The handful of rtnetlink requests that a routed veth needs, made directly: a pod's network takes well under a
//! millisecond and needs no other program.
//!
//! A socket belongs to the network namespace of the thread that opened it.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ipnet::Ipv4Net;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const ERROR: u16 = 2;

const REQUEST_ACK: u16 = 0x1 | 0x4;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;

const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const LINK_NAMESPACE: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const ROUTE_DST: u16 = 1;
const ROUTE_OIF: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_SOURCE: u16 = 7;

const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const FLAG_UP: u32 = 1;

/// A request socket to the kernel's routing tables.
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// The index of an interface of the calling thread's namespace.
pub fn index_of(name: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(name)
        .map_err(|e| io::Error::new(io::Error::from(e).kind(), format!("no interface {name}: {e}")))
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        // No protocol given is the routing one.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes a veth pair: `name` here, `peer` in the namespace `peer_namespace`.
    pub fn add_veth(&mut self, name: &str, peer: &str, peer_namespace: impl AsFd) -> io::Result<()> {
        let mut end = link_header(0, 0, 0);
        attribute(&mut end, LINK_NAME, &c_name(peer));
        let fd = peer_namespace.as_fd().as_raw_fd();
        attribute(&mut end, LINK_NAMESPACE, &fd.to_ne_bytes());
        let mut data = Vec::new();
        attribute(&mut data, VETH_PEER, &end);
        let mut info = Vec::new();
        attribute(&mut info, INFO_KIND, b"veth\0");
        attribute(&mut info, INFO_DATA, &data);
        let mut body = link_header(0, 0, 0);
        attribute(&mut body, LINK_NAME, &c_name(name));
        attribute(&mut body, LINK_INFO, &info);
        self.request(NEW_LINK, CREATE | EXCLUSIVE, &body, || format!("cannot make the veth pair {name}"))
    }

    /// Sets an interface up.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        let body = link_header(index, FLAG_UP, FLAG_UP);
        self.request(NEW_LINK, 0, &body, || format!("cannot set interface {index} up"))
    }

    /// Gives an interface a `/32` address.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr) -> io::Result<()> {
        let mut body = vec![libc::AF_INET as u8, 32, 0, SCOPE_UNIVERSE];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, LOCAL, &address.octets());
        attribute(&mut body, ADDRESS, &address.octets());
        self.request(NEW_ADDRESS, CREATE | EXCLUSIVE, &body, || format!("cannot add the address {address}"))
    }

    /// Adds a route out of an interface, directly or via a gateway, with a preferred source address.
    pub fn add_route(
        &mut self,
        destination: Ipv4Net,
        index: u32,
        gateway: Option<Ipv4Addr>,
        source: Option<Ipv4Addr>,
    ) -> io::Result<()> {
        let scope = if gateway.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
        let (table_main, by_boot, unicast) = (254, 3, 1);
        let mut body =
            vec![libc::AF_INET as u8, destination.prefix_len(), 0, 0, table_main, by_boot, scope, unicast];
        body.extend(0_u32.to_ne_bytes());
        attribute(&mut body, ROUTE_DST, &destination.network().octets());
        attribute(&mut body, ROUTE_OIF, &index.to_ne_bytes());
        if let Some(gateway) = gateway {
            attribute(&mut body, ROUTE_GATEWAY, &gateway.octets());
        }
        if let Some(source) = source {
            attribute(&mut body, ROUTE_SOURCE, &source.octets());
        }
        self.request(NEW_ROUTE, CREATE | EXCLUSIVE, &body, || {
            format!("cannot add the route to {destination}")
        })
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8], what: impl Fn() -> String) -> io::Result<()> {
        self.sequence += 1;
        let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST_ACK | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(body);
        rustix::io::write(&self.socket, &message)?;
        let mut answer = [0_u8; 4096];
        let length = rustix::io::read(&self.socket, &mut answer)?;
        match error_code(answer.get(..length).unwrap_or_default()) {
            Some(0) => Ok(()),
            Some(code) => {
                let error = io::Error::from_raw_os_error(-code);
                Err(io::Error::new(error.kind(), format!("{}: {error}", what())))
            }
            None => Err(io::Error::other(format!("{}: the kernel's answer makes no sense", what()))),
        }
    }
}

/// The code in an acknowledgement: 0 or a negated errno.
fn error_code(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == ERROR).then_some(code)
}

fn link_header(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

fn c_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// Appends one attribute, padded to four bytes.
fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Values here are names and addresses: far below 64 KiB.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded() {
        let mut bytes = Vec::new();
        attribute(&mut bytes, 3, b"lo\0");
        assert_eq!(bytes.len(), 8);
        assert_eq!(u16::from_ne_bytes([bytes[0], bytes[1]]), 7);
    }

    #[test]
    fn errors_are_read_from_acknowledgements() {
        assert_eq!(error_code(&[]), None);
        let mut answer = vec![0; 20];
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(error_code(&answer), Some(-17));
    }

    #[test]
    fn every_namespace_has_a_loopback() {
        assert!(index_of("lo").unwrap() > 0);
        assert!(index_of("nosuch0").unwrap_err().to_string().contains("nosuch0"));
    }
}
