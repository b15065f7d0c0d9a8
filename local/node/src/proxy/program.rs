//! The nft program for a table of services, as text. Pure: the same table gives the same text.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::table::{Affinity, Port, Protocol, Table};
use crate::net::{API_IP, DNS_IP, GATEWAY, NODE_IP, pod_cidr, service_cidr};

/// Where the daemon takes connections to the outside, on the pods' gateway address.
pub const EGRESS_PORT: u16 = 15999;

/// Writes the whole program. It replaces the table in one transaction, so no packet meets half of it, and connections
/// that exist keep what they were given.
pub fn render(table: &Table) -> String {
    let mut out = String::from("table ip meltemi {}\ndelete table ip meltemi\ntable ip meltemi {\n");
    sets(&mut out, table);
    for (index, port) in table.ports.iter().enumerate() {
        if !port.endpoints.is_empty() {
            service(&mut out, index, port);
        }
    }
    maps(&mut out, table);
    chains(&mut out);
    out.push_str("}\n");
    out
}

fn sets(out: &mut String, table: &Table) {
    let mut hairpin: Vec<Ipv4Addr> =
        table.ports.iter().flat_map(|p| p.endpoints.iter().map(|e| e.0)).collect();
    hairpin.sort_unstable();
    hairpin.dedup();
    let pairs: Vec<String> = hairpin.iter().map(|ip| format!("{ip} . {ip}")).collect();
    block(out, "set hairpin", "type ipv4_addr . ipv4_addr", &pairs);
    let mut empty = Vec::new();
    for port in table.ports.iter().filter(|p| p.endpoints.is_empty()) {
        empty.push(format!("{} . {} . {}", port.address, port.protocol.name(), port.port));
    }
    block(out, "set no-endpoints", "type ipv4_addr . inet_proto . inet_service", &empty);
}

/// One chain a service port: picks an endpoint.
fn service(out: &mut String, index: usize, port: &Port) {
    let protocol = port.protocol.name();
    let count = port.endpoints.len();
    let targets: Vec<String> =
        port.endpoints.iter().enumerate().map(|(n, (ip, port))| format!("{n} : {ip} . {port}")).collect();
    let pick = match (port.affinity, count) {
        (Affinity::ClientIp, _) => format!("jhash ip saddr mod {count}"),
        (Affinity::None, _) => format!("numgen random mod {count}"),
    };
    let _ = writeln!(out, "  # {}", port.name);
    let _ = writeln!(out, "  chain svc-{index} {{");
    if let [(ip, target)] = port.endpoints.as_slice() {
        let _ = writeln!(out, "    meta l4proto {protocol} dnat ip to {ip}:{target}");
    } else {
        let _ =
            writeln!(out, "    meta l4proto {protocol} dnat ip to {pick} map {{ {} }}", targets.join(", "));
    }
    out.push_str("  }\n");
}

fn maps(out: &mut String, table: &Table) {
    let (mut services, mut nodes) = (Vec::new(), Vec::new());
    for (index, port) in table.ports.iter().enumerate().filter(|(_, p)| !p.endpoints.is_empty()) {
        let protocol = port.protocol.name();
        services.push(format!("{} . {protocol} . {} : goto svc-{index}", port.address, port.port));
        if let Some(node_port) = port.node_port {
            nodes.push(format!("{protocol} . {node_port} : goto svc-{index}"));
        }
    }
    block(out, "map services", "type ipv4_addr . inet_proto . inet_service : verdict", &services);
    block(out, "map node-ports", "type inet_proto . inet_service : verdict", &nodes);
}

fn block(out: &mut String, head: &str, kind: &str, elements: &[String]) {
    let _ = writeln!(out, "  {head} {{");
    let _ = writeln!(out, "    {kind}");
    if !elements.is_empty() {
        let _ = writeln!(out, "    elements = {{\n      {}\n    }}", elements.join(",\n      "));
    }
    out.push_str("  }\n");
}

fn chains(out: &mut String) {
    let (pods, services) = (pod_cidr(), service_cidr());
    let _ = write!(
        out,
        "  chain dispatch {{
    ip daddr . meta l4proto . th dport vmap @services
    ip daddr {NODE_IP} meta l4proto . th dport vmap @node-ports
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump dispatch
    iifname \"pod*\" ip daddr != {{ {pods}, {services}, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }} meta l4proto tcp dnat ip to {GATEWAY}:{EGRESS_PORT}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump dispatch
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @hairpin snat ip to {NODE_IP}
  }}
  chain unreachable {{
    ip daddr . meta l4proto . th dport @no-endpoints meta l4proto tcp reject with tcp reset
    ip daddr {{ {API_IP}, {DNS_IP} }} return
    ip daddr {services} meta l4proto tcp reject with tcp reset
    ip daddr {services} reject with icmp port-unreachable
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    jump unreachable
  }}
  chain local-out {{
    type filter hook output priority filter; policy accept;
    jump unreachable
  }}
"
    );
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[cfg(test)]
mod tests;
