//! Text for `iptables-restore --noflush`: what others have written in the tables stays.

use std::fmt::Write;

use super::layout::PREFIX;
use super::plan::Plan;
use super::rule::Table;

/// A transaction that brings the tables from `saved` (output of `iptables-save`, may be empty) to the plan.
/// Rules of a former run are replaced.
pub fn restore(plan: &Plan, saved: &str) -> String {
    let mut text = String::new();
    let chains = plan.chains();
    for table in [Table::Mangle, Table::Nat] {
        let rules: Vec<_> = plan.rules.iter().filter(|rule| rule.table == table).collect();
        let old = Old::read(saved, table, plan);
        if rules.is_empty() && old.is_empty() {
            continue;
        }
        line(&mut text, format_args!("*{}", table.as_str()));
        let wanted = chains.get(&table).map(Vec::as_slice).unwrap_or_default();
        for chain in wanted {
            // Creates the chain, or empties it.
            line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        old.jumps.iter().for_each(|rule| line(&mut text, format_args!("{rule}")));
        let gone = old.chains.iter().filter(|chain| !wanted.contains(&chain.as_str()));
        gone.clone().for_each(|chain| line(&mut text, format_args!("-F {chain}")));
        gone.for_each(|chain| line(&mut text, format_args!("-X {chain}")));
        rules.iter().for_each(|rule| line(&mut text, format_args!("{rule}")));
        line(&mut text, format_args!("COMMIT"));
    }
    text
}

/// A transaction that takes everything of ours away. Empty when there is nothing.
pub fn cleanup(plan: &Plan, saved: &str) -> String {
    let mut text = String::new();
    for table in [Table::Mangle, Table::Nat] {
        let old = Old::read(saved, table, plan);
        if old.is_empty() {
            continue;
        }
        line(&mut text, format_args!("*{}", table.as_str()));
        old.jumps.iter().for_each(|rule| line(&mut text, format_args!("{rule}")));
        old.chains.iter().for_each(|chain| line(&mut text, format_args!("-F {chain}")));
        old.chains.iter().for_each(|chain| line(&mut text, format_args!("-X {chain}")));
        line(&mut text, format_args!("COMMIT"));
    }
    text
}

/// Arguments of `ip` that undo the plan's routing.
pub fn undo(plan: &Plan) -> Vec<String> {
    plan.routing.iter().rev().map(|line| line.replacen(" add ", " del ", 1)).collect()
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
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
        let ours: Vec<String> = plan.rules.iter().map(|rule| words(&rule.to_string())).collect();
        let mut old = Self::default();
        let mut here = false;
        for line in saved.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('*') {
                here = name == table.as_str();
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
    let mut words: Vec<&str> =
        rule.split_whitespace().filter(|word| !matches!(*word, "-m" | "tcp")).collect();
    words.sort_unstable();
    words.join(" ")
}
