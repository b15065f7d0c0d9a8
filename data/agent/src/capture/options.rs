//! What to capture: flags, checked, and what the machine brings along.

use std::net::IpAddr;

use ipnet::IpNet;

use super::args::CaptureArgs;
use super::rule::Match;

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

impl Bypass {
    /// The proxy's packets.
    pub(super) fn own(self) -> Match {
        match self {
            Self::Uid(id) => Match::Uid(id),
            Self::Gid(id) => Match::Gid(id),
            Self::Mark(mark) => Match::Mark(mark),
        }
    }

    /// All others.
    pub(super) fn foreign(self) -> Match {
        match self {
            Self::Uid(id) => Match::NotUid(id),
            Self::Gid(id) => Match::NotGid(id),
            Self::Mark(mark) => Match::NotMark(mark),
        }
    }
}

/// Whose outbound traffic is captured, by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners {
    /// That of all but these.
    AllBut(Vec<u32>),
    /// That of these.
    Only(Vec<u32>),
}

/// Whose look-ups go to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolvers {
    /// DNS is not captured.
    None,
    /// Those to any server.
    All,
    /// Those to these servers.
    Only(Vec<IpNet>),
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
    /// Whose traffic.
    pub owners: Owners,
    /// Whose look-ups.
    pub dns: Resolvers,
    /// The IPv4 destinations that count as talking to oneself.
    pub loopback_v4: IpNet,
}

/// What the rules depend on beside the flags.
pub struct Surroundings<'a> {
    /// `MELTEMI_BYPASS_MARK`.
    pub mark: Option<u32>,
    /// User ids by name.
    pub users: Lookup<'a>,
    /// Group ids by name.
    pub groups: Lookup<'a>,
    /// The resolvers of `/etc/resolv.conf`.
    pub resolvers: Vec<IpAddr>,
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
    /// Options from the command line.
    ///
    /// # Errors
    /// When a flag does not parse; it is named.
    pub fn new(args: &CaptureArgs, around: &Surroundings<'_>) -> Result<Self, OptionsError> {
        let options = Self {
            outbound_port: args.envoy_port,
            inbound_port: args.inbound_capture_port,
            tunnel_port: args.inbound_tunnel_port,
            bypass: bypass(args, around)?,
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
            owners: owners(args, around.groups)?,
            dns: resolvers(args, around),
            loopback_v4: loopback(&args.istio_outbound_ipv4_loopback_cidr)?,
        };
        let by_mark = options.bypass.iter().any(|bypass| matches!(bypass, Bypass::Mark(_)));
        if options.mode == Interception::Tproxy && by_mark {
            let expected = "REDIRECT: where the proxy has no user of its own, TPROXY cannot tell its packets from others";
            return Err(OptionsError { flag: "-m", value: "TPROXY".to_owned(), expected });
        }
        Ok(options)
    }

    /// The destinations that count as talking to oneself.
    pub(super) fn loopbacks(&self) -> [IpNet; 2] {
        [self.loopback_v4, IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST))]
    }

    /// Was a loopback destination asked for by name?
    pub(super) fn includes_loopback(&self) -> bool {
        match &self.outbound {
            Selection::All => false,
            Selection::Only(nets) => nets.iter().any(|net| net.addr().is_loopback()),
        }
    }
}

/// Istio's user, when it exists in the image or not.
const PROXY_USER: &str = "istio-proxy";
const PROXY_UID: &str = "1337";

fn bypass(args: &CaptureArgs, around: &Surroundings<'_>) -> Result<Vec<Bypass>, OptionsError> {
    if let Some(mark) = around.mark {
        // Where only one user exists, rules by user would match everything or nothing.
        return Ok(vec![Bypass::Mark(mark)]);
    }
    let default = (around.users)(if args.envoy_user.is_empty() { PROXY_USER } else { &args.envoy_user });
    let default = default.map_or_else(|| PROXY_UID.to_owned(), |id| id.to_string());
    let uid = if args.proxy_uid.is_empty() { &default } else { &args.proxy_uid };
    // As Istio: the proxy's group has its user's id unless told otherwise.
    let gid = if args.proxy_gid.is_empty() { uid } else { &args.proxy_gid };
    let users = ids("-u", uid, around.users, "a user id or the name of a user of this container")?;
    let groups = ids("-g", gid, around.groups, A_GROUP)?;
    Ok(users.into_iter().map(Bypass::Uid).chain(groups.into_iter().map(Bypass::Gid)).collect())
}

const A_GROUP: &str = "a group id or the name of a group of this container";
/// Groups that one rule can name: kernels limit the conditions of a rule.
const MOST_GROUPS: usize = 64;

fn owners(args: &CaptureArgs, groups: Lookup<'_>) -> Result<Owners, OptionsError> {
    let flag = "--owner-groups-include (ISTIO_OUTBOUND_OWNER_GROUPS)";
    let include = args.owner_groups_include.trim();
    if include == "*" {
        let flag = "--owner-groups-exclude (ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE)";
        return ids(flag, &args.owner_groups_exclude, groups, A_GROUP).map(Owners::AllBut);
    }
    let only = ids(flag, include, groups, A_GROUP)?;
    if only.len() > MOST_GROUPS {
        return Err(OptionsError { flag, value: include.to_owned(), expected: "at most 64 groups" });
    }
    Ok(Owners::Only(only))
}

fn resolvers(args: &CaptureArgs, around: &Surroundings<'_>) -> Resolvers {
    match (args.redirect_dns, args.capture_all_dns) {
        (false, _) => Resolvers::None,
        (true, true) => Resolvers::All,
        (true, false) if around.resolvers.is_empty() => Resolvers::None,
        (true, false) => Resolvers::Only(around.resolvers.iter().copied().map(IpNet::from).collect()),
    }
}

fn loopback(text: &str) -> Result<IpNet, OptionsError> {
    let fine = |net: &IpNet| net.addr().is_ipv4() && net.addr().is_loopback() && net.prefix_len() >= 8;
    text.parse().ok().filter(fine).ok_or_else(|| OptionsError {
        flag: "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR",
        value: text.to_owned(),
        expected: "a network inside of 127.0.0.0/8",
    })
}

fn ids(
    flag: &'static str,
    names: &str,
    lookup: Lookup<'_>,
    expected: &'static str,
) -> Result<Vec<u32>, OptionsError> {
    list(names).map(|name| id(flag, name, lookup, expected)).collect()
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
    let parse = |net: &str| net.parse().or_else(|_| net.parse::<IpAddr>().map(IpNet::from));
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
