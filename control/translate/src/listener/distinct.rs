//! Chains that exclude each other: Envoy refuses a whole listener in which two chains claim the same connections.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_proto::envoy::config::core::v3::CidrRange;
use meltemi_proto::envoy::config::listener::v3::{FilterChain, FilterChainMatch};

/// Takes from each chain the server names and address ranges that an earlier one has claimed. So whoever comes first
/// keeps what is theirs, and a later object of another namespace cannot make the proxy refuse the listener.
pub(super) fn distinct(chains: Vec<FilterChain>) -> Vec<FilterChain> {
    let mut claimed: Vec<(FilterChainMatch, Claims)> = Vec::new();
    let mut kept = Vec::with_capacity(chains.len());
    for chain in chains {
        let mut matches = chain.filter_chain_match.clone().unwrap_or_default();
        let names = or_any(std::mem::take(&mut matches.server_names));
        let ranges = or_any(std::mem::take(&mut matches.prefix_ranges));
        let position = claimed.iter().position(|(rest, _)| *rest == matches).unwrap_or_else(|| {
            claimed.push((matches.clone(), Claims::default()));
            claimed.len() - 1
        });
        let free = claimed[position].1.claim(&names, &ranges);
        if free.len() == 1 && free.values().all(|free| free.len() == names.len()) && is_whole(&free, &ranges)
        {
            kept.push(chain);
            continue;
        }
        for (free_ranges, free_names) in free {
            let mut part = matches.clone();
            part.server_names = free_names.into_iter().flatten().collect();
            part.prefix_ranges = free_ranges.iter().filter_map(|index| ranges.get(*index)?.clone()).collect();
            kept.push(FilterChain { filter_chain_match: Some(part), ..chain.clone() });
        }
    }
    kept
}

/// Server names by the indexes of the address ranges in which they are free.
type Free = BTreeMap<Vec<usize>, Vec<Option<String>>>;

fn is_whole(free: &Free, ranges: &[Option<CidrRange>]) -> bool {
    free.keys().all(|indexes| indexes.len() == ranges.len())
}

/// No condition is a condition of its own.
fn or_any<T>(values: Vec<T>) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.into_iter().map(Some).collect() }
}

/// What chains that are alike in everything else have claimed.
#[derive(Default)]
struct Claims(BTreeSet<(Option<String>, Option<Range>)>);

/// A network and the length of its prefix.
type Range = (String, u32);

impl Claims {
    fn claim(&mut self, names: &[Option<String>], ranges: &[Option<CidrRange>]) -> Free {
        let mut free = Free::new();
        for name in names {
            let key = |range: &Option<CidrRange>| {
                let range = range.as_ref();
                let range =
                    range.map(|r| (r.address_prefix.clone(), r.prefix_len.as_ref().map_or(0, |l| l.value)));
                (name.as_ref().map(|name| name.to_ascii_lowercase()), range)
            };
            let mut of_name = Vec::new();
            for (index, range) in ranges.iter().enumerate() {
                if self.0.insert(key(range)) {
                    of_name.push(index);
                }
            }
            if !of_name.is_empty() {
                free.entry(of_name).or_default().push(name.clone());
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn chain(name: &str, server_names: &[&str], ranges: &[&str]) -> FilterChain {
        let ranges = ranges.iter().map(|range| wire::cidr(wire::parse_cidr(range).expect("a range")));
        FilterChain {
            name: name.to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                server_names: server_names.iter().map(ToString::to_string).collect(),
                prefix_ranges: ranges.collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn shown(chains: Vec<FilterChain>) -> Vec<String> {
        let one = |chain: FilterChain| {
            let matches = chain.filter_chain_match.unwrap_or_default();
            let ranges = matches.prefix_ranges.iter().map(|range| range.address_prefix.as_str());
            format!("{} {:?} {:?}", chain.name, matches.server_names, ranges.collect::<Vec<_>>())
        };
        distinct(chains).into_iter().map(one).collect()
    }

    #[test]
    fn a_name_belongs_to_the_first_chain_that_claims_it() {
        let chains = vec![
            chain("first", &["a.com", "b.com"], &[]),
            chain("overlaps", &["B.com", "c.com"], &[]),
            chain("has nothing left", &["a.com"], &[]),
            chain("narrower", &["a.com"], &["10.0.0.0/8"]),
            FilterChain { name: "any".to_owned(), ..Default::default() },
            chain("any again", &[], &[]),
        ];
        assert_eq!(
            shown(chains),
            [
                r#"first ["a.com", "b.com"] []"#,
                r#"overlaps ["c.com"] []"#,
                r#"narrower ["a.com"] ["10.0.0.0"]"#,
                "any [] []",
            ]
        );
    }

    #[test]
    fn names_and_ranges_are_claimed_together() {
        let chains = vec![
            chain("first", &["a.com"], &["10.0.0.0/8"]),
            chain("second", &["a.com", "b.com"], &["10.1.2.3/8", "11.0.0.0/8"]),
        ];
        assert_eq!(
            shown(chains),
            [
                r#"first ["a.com"] ["10.0.0.0"]"#,
                r#"second ["b.com"] ["10.0.0.0", "11.0.0.0"]"#,
                r#"second ["a.com"] ["11.0.0.0"]"#,
            ]
        );
    }
}
