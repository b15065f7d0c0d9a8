//! A plan as text for `iptables-restore --noflush`: what others have written in the tables stays.

use std::fmt::{self, Display, Write};

use super::plan::{Plan, chains};
use super::rule::{Action, Chain, Family, Match, Rule, Table};

/// All our chains begin with this.
const PREFIX: &str = "ISTIO_";

fn table_name(table: Table) -> &'static str {
    match table {
        Table::Mangle => "mangle",
        Table::Nat => "nat",
        Table::Raw => "raw",
    }
}

fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Prerouting => "PREROUTING",
        Chain::Output => "OUTPUT",
        Chain::Inbound => "ISTIO_INBOUND",
        Chain::Redirect => "ISTIO_REDIRECT",
        Chain::InRedirect => "ISTIO_IN_REDIRECT",
        Chain::IstioOutput => "ISTIO_OUTPUT",
        Chain::OutputDns => "ISTIO_OUTPUT_DNS",
        Chain::Divert => "ISTIO_DIVERT",
        Chain::Tproxy => "ISTIO_TPROXY",
        Chain::IstioDrop => "ISTIO_DROP",
    }
}

/// A rule as iptables writes it.
struct Line<'a>(&'a Rule);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-A {}", chain_name(self.0.chain))?;
        self.0.matches.iter().try_for_each(|part| write_match(f, part))?;
        write_action(f, self.0.action)
    }
}

fn write_match(f: &mut fmt::Formatter<'_>, part: &Match) -> fmt::Result {
    match part {
        Match::Tcp => write!(f, " -p tcp"),
        Match::Udp => write!(f, " -p udp"),
        Match::Port(port) => write!(f, " --dport {port}"),
        Match::NotPort(port) => write!(f, " ! --dport {port}"),
        Match::NotPorts(ports) => write!(f, " -m multiport ! --dports {}", list(ports, ",")),
        Match::SourcePort(port) => write!(f, " --sport {port}"),
        Match::In(name) => write!(f, " -i {name}"),
        Match::Out(name) => write!(f, " -o {name}"),
        Match::From(net) => write!(f, " -s {net}"),
        Match::To(net) => write!(f, " -d {net}"),
        Match::NotTo(net) => write!(f, " ! -d {net}"),
        Match::Uid(id) => write!(f, " -m owner --uid-owner {id}"),
        Match::NotUid(id) => write!(f, " -m owner ! --uid-owner {id}"),
        Match::Gid(id) => write!(f, " -m owner --gid-owner {id}"),
        Match::NotGid(id) => write!(f, " -m owner ! --gid-owner {id}"),
        Match::Mark(mark) => write!(f, " -m mark --mark {mark}"),
        Match::NotMark(mark) => write!(f, " -m mark ! --mark {mark}"),
        Match::ConnMark(mark) => write!(f, " -m connmark --mark {mark}"),
        Match::Established => write!(f, " -m conntrack --ctstate RELATED,ESTABLISHED"),
        Match::Invalid => write!(f, " -m conntrack --ctstate INVALID"),
    }
}

fn write_action(f: &mut fmt::Formatter<'_>, action: Action) -> fmt::Result {
    match action {
        Action::Return => write!(f, " -j RETURN"),
        Action::Jump(chain) => write!(f, " -j {}", chain_name(chain)),
        Action::Redirect(port) => write!(f, " -j REDIRECT --to-ports {port}"),
        Action::Tproxy { port, mark } => {
            write!(f, " -j TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}")
        }
        Action::Accept => write!(f, " -j ACCEPT"),
        Action::Drop => write!(f, " -j DROP"),
        Action::SetMark(mark) => write!(f, " -j MARK --set-mark {mark}"),
        Action::SaveMark => write!(f, " -j CONNMARK --save-mark"),
        Action::RestoreMark => write!(f, " -j CONNMARK --restore-mark"),
        Action::Zone(zone) => write!(f, " -j CT --zone {zone}"),
    }
}

pub(super) fn list(ports: &[u16], separator: &str) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(separator)
}

/// A transaction that brings the tables of a family from `saved` (output of `iptables-save`, may be empty) to the plan.
/// Rules of a former run are replaced.
pub fn restore(plan: &Plan, family: Family, saved: &str) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let rules = plan.rules_of(table, &[family]);
        let old = Old::read(saved, table, plan);
        if rules.is_empty() && old.is_empty() {
            continue;
        }
        line(&mut text, format_args!("*{}", table_name(table)));
        let wanted: Vec<&str> = chains(&rules).into_iter().map(chain_name).collect();
        for chain in &wanted {
            // Creates the chain, or empties it.
            line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        old.jumps.iter().for_each(|rule| line(&mut text, format_args!("{rule}")));
        let gone = old.chains.iter().filter(|chain| !wanted.contains(&chain.as_str()));
        gone.clone().for_each(|chain| line(&mut text, format_args!("-F {chain}")));
        gone.for_each(|chain| line(&mut text, format_args!("-X {chain}")));
        rules.iter().for_each(|rule| line(&mut text, format_args!("{}", Line(rule))));
        line(&mut text, format_args!("COMMIT"));
    }
    text
}

/// A transaction that takes everything of ours away. Empty when there is nothing.
pub fn cleanup(plan: &Plan, saved: &str) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let old = Old::read(saved, table, plan);
        if old.is_empty() {
            continue;
        }
        line(&mut text, format_args!("*{}", table_name(table)));
        old.jumps.iter().for_each(|rule| line(&mut text, format_args!("{rule}")));
        old.chains.iter().for_each(|chain| line(&mut text, format_args!("-F {chain}")));
        old.chains.iter().for_each(|chain| line(&mut text, format_args!("-X {chain}")));
        line(&mut text, format_args!("COMMIT"));
    }
    text
}

fn line(text: &mut String, content: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

/// What a former run left in one table.
#[derive(Default)]
struct Old {
    /// Commands that delete our rules from chains that are not ours.
    jumps: Vec<String>,
    /// Our chains.
    chains: Vec<String>,
}

impl Old {
    fn read(saved: &str, table: Table, plan: &Plan) -> Self {
        let ours: Vec<String> = plan.rules.iter().map(|rule| words(&Line(rule).to_string())).collect();
        let mut old = Self::default();
        let mut here = false;
        for line in saved.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('*') {
                here = name == table_name(table);
            } else if !here {
                continue;
            } else if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
                if chain.starts_with(PREFIX) {
                    old.chains.push(chain.to_owned());
                }
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let foreign_chain = !rule.starts_with(PREFIX);
                let ours = rule.contains(&format!("-j {PREFIX}")) || ours.contains(&words(line));
                if foreign_chain && ours {
                    old.jumps.push(format!("-D {rule}"));
                }
            }
        }
        old
    }

    fn is_empty(&self) -> bool {
        self.jumps.is_empty() && self.chains.is_empty()
    }
}

/// A rule without its order of options and spelled-out defaults, to compare ours with what the kernel tells.
fn words(rule: &str) -> String {
    let plain = |word: &str| match word {
        // Another spelling of the same; the masks are those of whole marks.
        "--set-mark" | "--set-xmark" => "--set-mark".to_owned(),
        "--nfmask" | "--ctmask" | "0xffffffff" | "-m" | "tcp" | "udp" => String::new(),
        word => number(word.strip_suffix("/0xffffffff").unwrap_or(word)),
    };
    let mut words: Vec<String> = rule.split_whitespace().map(plain).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.join(" ")
}

/// Hexadecimal numbers in decimal.
fn number(word: &str) -> String {
    let hex = word.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    hex.map_or_else(|| word.to_owned(), |number| number.to_string())
}
