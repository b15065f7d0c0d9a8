//! The plan that follows from the options: rules as values, which either packet filter is told in its own language.

use super::rule::{Chain, Family, Rule, Table};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Rules in order, each at the end of its chain.
    pub rules: Vec<Rule>,
    /// Arguments of `ip` (or `ip -6`) that must be run as well.
    pub routing: Vec<(Family, String)>,
}

impl Plan {
    /// The rules of one table, of one family or of both.
    pub fn rules_of(&self, table: Table, families: &[Family]) -> Vec<&Rule> {
        let wanted = |rule: &&Rule| {
            rule.table == table && rule.family().is_none_or(|family| families.contains(&family))
        };
        self.rules.iter().filter(wanted).collect()
    }

    /// Arguments of `ip` that undo the plan's routing.
    pub fn undo(&self) -> Vec<(Family, String)> {
        let undo = |line: &str| line.replacen(" add ", " del ", 1).replacen(" replace ", " del ", 1);
        self.routing.iter().rev().map(|(family, line)| (*family, undo(line))).collect()
    }
}

/// The chains of ours among these rules: those that they are in and those that they jump to.
pub(super) fn chains(rules: &[&Rule]) -> Vec<Chain> {
    let mut all: Vec<Chain> = Vec::new();
    for rule in rules {
        let target = match rule.action {
            super::rule::Action::Jump(chain) => Some(chain),
            _ => None,
        };
        for chain in target.into_iter().chain([rule.chain]) {
            if !chain.is_hook() && !all.contains(&chain) {
                all.push(chain);
            }
        }
    }
    all.sort_unstable();
    all
}
