//! What to capture, checked; and the plan that follows from it.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use super::args::CaptureArgs;
use super::rule::{Family, Rule, Table};

/// All of something, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<T> {
    /// `*`.
    All,
    /// These.
    Only(Vec<T>),
}

/// How inbound connections reach the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interception {
    /// By address translation; the application sees the proxy as its peer.
    Redirect,
    /// Transparently; the peer's address is kept.
    Tproxy,
}

/// By what the proxy's own packets are told from the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// User id.
    Uid(u32),
    /// Group id.
    Gid(u32),
    /// Socket mark, where only one user exists.
    Mark(u32),
}

/// What to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Port of the proxy for outbound traffic.
    pub outbound_port: u16,
    /// Port of the proxy for inbound traffic.
    pub inbound_port: u16,
    /// Tunnel port, never captured.
    pub tunnel_port: u16,
    /// The proxy's own traffic.
    pub bypass: Vec<Bypass>,
    /// REDIRECT or TPROXY.
    pub mode: Interception,
    /// Inbound ports.
    pub inbound: Selection<u16>,
    /// Inbound ports left out when all are captured.
    pub inbound_exclude: Vec<u16>,
    /// Outbound destinations.
    pub outbound: Selection<IpNet>,
    /// Outbound destinations left out.
    pub outbound_exclude: Vec<IpNet>,
    /// Outbound ports captured wherever they go.
    pub outbound_ports: Vec<u16>,
    /// Outbound ports left out.
    pub outbound_ports_exclude: Vec<u16>,
    /// Interfaces of virtual machines inside the pod.
    pub virtual_interfaces: Vec<String>,
    /// Interfaces left out.
    pub exclude_interfaces: Vec<String>,
    /// Mark of packets under TPROXY.
    pub tproxy_mark: u32,
    /// Routing table of packets under TPROXY.
    pub tproxy_table: u32,
    /// Drop what connection tracking finds invalid.
    pub drop_invalid: bool,
}

/// A flag whose value makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {value:?}: expected {expected}")]
pub struct OptionsError {
    flag: &'static str,
    value: String,
    expected: &'static str,
}

/// Looks up the id of a user or group by name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<u32>;

impl Options {
    /// Options from the command line. `mark` comes from `MELTEMI_BYPASS_MARK`.
    ///
    /// # Errors
    /// When a flag does not parse; it is named.
    pub fn new(
        args: &CaptureArgs,
        mark: Option<u32>,
        users: Lookup<'_>,
        groups: Lookup<'_>,
    ) -> Result<Self, OptionsError> {
        Ok(Self {
            outbound_port: args.envoy_port,
            inbound_port: args.inbound_capture_port,
            tunnel_port: args.inbound_tunnel_port,
            bypass: bypass(args, mark, users, groups)?,
            mode: mode(&args.istio_inbound_interception_mode)?,
            inbound: ports_or_all("-b", &args.istio_inbound_ports)?,
            inbound_exclude: ports("-d", &args.istio_local_exclude_ports)?,
            outbound: nets_or_all("-i", &args.istio_service_cidr)?,
            outbound_exclude: nets("-x", &args.istio_service_exclude_cidr)?,
            outbound_ports: ports("-q", &args.istio_outbound_ports)?,
            outbound_ports_exclude: ports("-o", &args.istio_local_outbound_ports_exclude)?,
            virtual_interfaces: interfaces("-k", &args.kube_virt_interfaces)?,
            exclude_interfaces: interfaces("-c", &args.istio_exclude_interfaces)?,
            tproxy_mark: args.istio_inbound_tproxy_mark,
            tproxy_table: args.istio_inbound_tproxy_route_table,
            drop_invalid: args.drop_invalid,
        })
    }
}

fn bypass(
    args: &CaptureArgs,
    mark: Option<u32>,
    users: Lookup<'_>,
    groups: Lookup<'_>,
) -> Result<Vec<Bypass>, OptionsError> {
    if let Some(mark) = mark {
        // Where only one user exists, rules by user would match everything or nothing.
        return Ok(vec![Bypass::Mark(mark)]);
    }
    let mut all = Vec::new();
    for name in list(&args.proxy_uid) {
        all.push(Bypass::Uid(id("-u", name, users, "a user id or the name of a user of this container")?));
    }
    // As Istio: the proxy's group has its user's id unless told otherwise.
    let gid = if args.proxy_gid.is_empty() { &args.proxy_uid } else { &args.proxy_gid };
    for name in list(gid) {
        all.push(Bypass::Gid(id("-g", name, groups, "a group id or the name of a group of this container")?));
    }
    Ok(all)
}

fn id(
    flag: &'static str,
    name: &str,
    lookup: Lookup<'_>,
    expected: &'static str,
) -> Result<u32, OptionsError> {
    let number = name.parse().ok().or_else(|| lookup(name));
    number.ok_or_else(|| OptionsError { flag, value: name.to_owned(), expected })
}

fn mode(text: &str) -> Result<Interception, OptionsError> {
    match text {
        "" | "REDIRECT" => Ok(Interception::Redirect),
        "TPROXY" => Ok(Interception::Tproxy),
        other => Err(OptionsError { flag: "-m", value: other.to_owned(), expected: "REDIRECT or TPROXY" }),
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn ports(flag: &'static str, text: &str) -> Result<Vec<u16>, OptionsError> {
    let expected = "a list of ports between 1 and 65535, such as 80,8080";
    list(text)
        .map(|port| match port.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(OptionsError { flag, value: port.to_owned(), expected }),
        })
        .collect()
}

fn ports_or_all(flag: &'static str, text: &str) -> Result<Selection<u16>, OptionsError> {
    if text.trim() == "*" { Ok(Selection::All) } else { ports(flag, text).map(Selection::Only) }
}

fn nets(flag: &'static str, text: &str) -> Result<Vec<IpNet>, OptionsError> {
    let expected = "a list of CIDRs, such as 10.0.0.0/8,fd00::/8";
    let parse = |net: &str| net.parse().or_else(|_| net.parse::<std::net::IpAddr>().map(IpNet::from));
    list(text)
        .map(|net| parse(net).map_err(|_| OptionsError { flag, value: net.to_owned(), expected }))
        .collect()
}

fn nets_or_all(flag: &'static str, text: &str) -> Result<Selection<IpNet>, OptionsError> {
    if text.trim() == "*" { Ok(Selection::All) } else { nets(flag, text).map(Selection::Only) }
}

/// Longest name of a network interface in Linux.
const MAX_INTERFACE: usize = 15;

fn interfaces(flag: &'static str, text: &str) -> Result<Vec<String>, OptionsError> {
    let fine = |name: &str| {
        name.len() <= MAX_INTERFACE
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@'))
    };
    let expected = "a list of network interfaces, such as eth1,tun0";
    list(text)
        .map(|name| match fine(name) {
            true => Ok(name.to_owned()),
            false => Err(OptionsError { flag, value: name.to_owned(), expected }),
        })
        .collect()
}

/// The rules of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which program.
    pub family: Family,
    /// Rules in order, each at the end of its chain.
    pub rules: Vec<Rule>,
    /// Arguments of `ip` (or `ip -6`) that must be run as well.
    pub routing: Vec<String>,
}

impl Plan {
    /// Our chains by table: those that the rules name and the kernel does not have by itself.
    pub fn chains(&self) -> BTreeMap<Table, Vec<&'static str>> {
        let mut chains: BTreeMap<Table, Vec<&'static str>> = BTreeMap::new();
        for rule in &self.rules {
            let known = chains.entry(rule.table).or_default();
            if rule.chain.starts_with(super::layout::PREFIX) && !known.contains(&rule.chain) {
                known.push(rule.chain);
            }
        }
        chains
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::restore::restore(self, ""))?;
        let ip = if self.family == Family::V6 { "ip -6" } else { "ip" };
        self.routing.iter().try_for_each(|line| writeln!(f, "# {ip} {line}"))
    }
}
