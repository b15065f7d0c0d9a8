//! A plan as a script for `nft -f`. The tables are ours alone, so a run replaces them as a whole.

use std::fmt::{self, Display, Write};

use super::plan::{Plan, chains};
use super::restore::list;
use super::rule::{Action, Chain, Family, Match, Rule, Table};

fn table_name(table: Table) -> &'static str {
    match table {
        Table::Mangle => "istio-proxy-mangle",
        Table::Nat => "istio-proxy-nat",
        Table::Raw => "istio-proxy-raw",
    }
}

fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Prerouting => "prerouting",
        Chain::Output => "output",
        Chain::Inbound => "istio-inbound",
        Chain::Redirect => "istio-redirect",
        Chain::InRedirect => "istio-in-redirect",
        Chain::IstioOutput => "istio-output",
        Chain::OutputDns => "istio-output-dns",
        Chain::Divert => "istio-divert",
        Chain::Tproxy => "istio-tproxy",
        Chain::IstioDrop => "istio-drop",
    }
}

/// Where a chain is called from by the kernel.
fn hook(table: Table, chain: Chain) -> &'static str {
    match (table, chain) {
        (Table::Nat, Chain::Prerouting) => "type nat hook prerouting priority -100 ;",
        (Table::Nat, _) => "type nat hook output priority -100 ;",
        (Table::Mangle, Chain::Prerouting) => "type filter hook prerouting priority -150 ;",
        // A packet that got another mark here takes another route.
        (Table::Mangle, _) => "type route hook output priority -150 ;",
        (Table::Raw, Chain::Prerouting) => "type filter hook prerouting priority -300 ;",
        (Table::Raw, _) => "type filter hook output priority -300 ;",
    }
}

/// A script that puts the plan in place of whatever a former run left.
pub fn script(plan: &Plan, families: &[Family]) -> String {
    let mut text = cleanup();
    for table in Table::ALL {
        let rules = plan.rules_of(table, families);
        if rules.is_empty() {
            continue;
        }
        let name = table_name(table);
        line(&mut text, format_args!("add table inet {name}"));
        for chain in [Chain::Prerouting, Chain::Output] {
            if rules.iter().any(|rule| rule.chain == chain) {
                let hook = hook(table, chain);
                line(&mut text, format_args!("add chain inet {name} {} {{ {hook} }}", chain_name(chain)));
            }
        }
        for chain in chains(&rules) {
            line(&mut text, format_args!("add chain inet {name} {}", chain_name(chain)));
        }
        rules.iter().for_each(|rule| line(&mut text, format_args!("{}", Line(rule))));
    }
    text
}

/// A script that takes everything of ours away, also when there is nothing.
pub fn cleanup() -> String {
    let mut text = String::new();
    for name in Table::ALL.map(table_name) {
        // Deleting what does not exist fails, adding what exists does not.
        line(&mut text, format_args!("add table inet {name}"));
        line(&mut text, format_args!("delete table inet {name}"));
    }
    text
}

fn line(text: &mut String, content: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

/// A rule as nft writes it.
struct Line<'a>(&'a Rule);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        write!(f, "add rule inet {} {}", table_name(rule.table), chain_name(rule.chain))?;
        let protocol = if rule.matches.contains(&Match::Udp) { "udp" } else { "tcp" };
        rule.matches.iter().try_for_each(|part| write_match(f, part, protocol))?;
        write_action(f, rule)
    }
}

fn write_match(f: &mut fmt::Formatter<'_>, part: &Match, protocol: &str) -> fmt::Result {
    let ip = |family| match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    match part {
        Match::Tcp | Match::Udp => write!(f, " meta l4proto {protocol}"),
        Match::Port(port) => write!(f, " {protocol} dport {port}"),
        Match::NotPort(port) => write!(f, " {protocol} dport != {port}"),
        Match::NotPorts(ports) => write!(f, " {protocol} dport != {{ {} }}", list(ports, ", ")),
        Match::SourcePort(port) => write!(f, " {protocol} sport {port}"),
        Match::In(name) => write!(f, " iifname \"{name}\""),
        Match::Out(name) => write!(f, " oifname \"{name}\""),
        Match::From(net) => write!(f, " {} saddr {net}", ip(Family::of(net))),
        Match::To(net) => write!(f, " {} daddr {net}", ip(Family::of(net))),
        Match::NotTo(net) => write!(f, " {} daddr != {net}", ip(Family::of(net))),
        Match::Uid(id) => write!(f, " meta skuid {id}"),
        Match::NotUid(id) => write!(f, " meta skuid != {id}"),
        Match::Gid(id) => write!(f, " meta skgid {id}"),
        Match::NotGid(id) => write!(f, " meta skgid != {id}"),
        Match::Mark(mark) => write!(f, " meta mark {mark}"),
        Match::NotMark(mark) => write!(f, " meta mark != {mark}"),
        Match::ConnMark(mark) => write!(f, " ct mark {mark}"),
        Match::Established => write!(f, " ct state related,established"),
        Match::Invalid => write!(f, " ct state invalid"),
    }
}

fn write_action(f: &mut fmt::Formatter<'_>, rule: &Rule) -> fmt::Result {
    // iptables counts by itself; who looks for a lost packet looks at the counters first.
    write!(f, " counter")?;
    match rule.action {
        Action::Return => write!(f, " return"),
        Action::Jump(chain) => write!(f, " jump {}", chain_name(chain)),
        Action::Redirect(port) => write!(f, " redirect to :{port}"),
        Action::Tproxy { port, mark } => {
            let ip = if rule.family() == Some(Family::V6) { "ip6" } else { "ip" };
            write!(f, " tproxy {ip} to :{port} meta mark set {mark} accept")
        }
        Action::Accept => write!(f, " accept"),
        Action::Drop => write!(f, " drop"),
        Action::SetMark(mark) => write!(f, " meta mark set {mark}"),
        Action::SaveMark => write!(f, " ct mark set meta mark"),
        Action::RestoreMark => write!(f, " meta mark set ct mark"),
        Action::Zone(zone) => write!(f, " ct zone set {zone}"),
    }
}
