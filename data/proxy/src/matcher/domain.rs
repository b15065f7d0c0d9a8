//! Looking up a virtual host by the request's authority: exact, then the longest suffix wildcard (`*.foo`), then the
//! longest prefix wildcard (`foo.*`), then `*`.

use hashbrown::HashMap;

use crate::base::reject::{Compiled, Reject};

/// An index from domain patterns to positions.
#[derive(Debug, Default)]
pub struct DomainIndex {
    exact: HashMap<String, usize>,
    /// By length of the fixed part, longest first.
    suffixes: Vec<(usize, HashMap<String, usize>)>,
    prefixes: Vec<(usize, HashMap<String, usize>)>,
    any: Option<usize>,
}

impl DomainIndex {
    /// Adds a pattern of the item at `position`.
    pub fn insert(&mut self, pattern: &str, position: usize) -> Compiled<()> {
        let lower = pattern.to_ascii_lowercase();
        let fresh = match lower.as_str() {
            "" => return Err(Reject::new("domains", "must not hold an empty domain")),
            "*" => self.any.replace(position).is_none(),
            _ if lower.starts_with('*') => add(&mut self.suffixes, &lower[1..], position),
            _ if lower.ends_with('*') => add(&mut self.prefixes, &lower[..lower.len() - 1], position),
            _ if lower.contains('*') => {
                return Err(Reject::new("domains", format!("{pattern:?}: '*' may only stand at an end")));
            }
            _ => self.exact.insert(lower, position).is_none(),
        };
        if fresh { Ok(()) } else { Err(Reject::new("domains", format!("{pattern:?} is there twice"))) }
    }

    /// The item whose pattern fits best. `host` is compared without regard to case.
    pub fn find(&self, host: &str) -> Option<usize> {
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.find_lower(&host.to_ascii_lowercase());
        }
        self.find_lower(host)
    }

    fn find_lower(&self, host: &str) -> Option<usize> {
        if let Some(position) = self.exact.get(host) {
            return Some(*position);
        }
        // A wildcard stands for at least one character, so the fixed part must be shorter than the host.
        let fixed = |len: &usize| *len < host.len();
        for (len, table) in self.suffixes.iter().filter(|(len, _)| fixed(len)) {
            if let Some(position) = host.get(host.len() - len..).and_then(|part| table.get(part)) {
                return Some(*position);
            }
        }
        for (len, table) in self.prefixes.iter().filter(|(len, _)| fixed(len)) {
            if let Some(position) = host.get(..*len).and_then(|part| table.get(part)) {
                return Some(*position);
            }
        }
        self.any
    }
}

fn add(tables: &mut Vec<(usize, HashMap<String, usize>)>, fixed: &str, position: usize) -> bool {
    let at = tables.iter().position(|(len, _)| *len <= fixed.len()).unwrap_or(tables.len());
    if tables.get(at).is_none_or(|(len, _)| *len != fixed.len()) {
        tables.insert(at, (fixed.len(), HashMap::new()));
    }
    tables[at].1.insert(fixed.to_owned(), position).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_domain_wins() {
        let mut index = DomainIndex::default();
        for (i, pattern) in
            ["www.foo.com", "*.foo.com", "*-bar.foo.com", "www.*", "*", "x*"].iter().enumerate()
        {
            index.insert(pattern, i).unwrap();
        }
        for (host, expected) in [
            ("www.foo.com", 0),
            ("WWW.Foo.com", 0),
            ("a.foo.com", 1),
            ("baz-bar.foo.com", 2),
            ("www.other", 3),
            (".foo.com", 4),
            ("x", 4),
            ("xy", 5),
        ] {
            assert_eq!(index.find(host), Some(expected), "{host}");
        }
        assert!(index.insert("www.FOO.com", 9).is_err());
        assert!(index.insert("a.*.b", 9).is_err());
    }
}
