//! `exportTo`: which namespaces may see an object.

use std::collections::BTreeSet;

/// The namespaces that may see an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExportTo {
    /// Every namespace (`*`).
    #[default]
    All,
    /// These namespaces; `.` is already replaced by the object's own. Empty means nobody (`~`).
    Namespaces(BTreeSet<String>),
}

impl ExportTo {
    /// Reads `exportTo` of an object in `namespace`; an empty list means the mesh's default.
    pub fn read<S: AsRef<str>>(values: &[S], namespace: &str, default: &ExportTo) -> ExportTo {
        if values.is_empty() {
            return match default {
                ExportTo::All => ExportTo::All,
                ExportTo::Namespaces(set) => ExportTo::Namespaces(
                    set.iter().map(|n| if n == "." { namespace.to_owned() } else { n.clone() }).collect(),
                ),
            };
        }
        let mut set = BTreeSet::new();
        for value in values {
            match value.as_ref() {
                "*" => return ExportTo::All,
                "." => set.insert(namespace.to_owned()),
                "~" => continue,
                name => set.insert(name.to_owned()),
            };
        }
        ExportTo::Namespaces(set)
    }

    /// May `namespace` see the object?
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            ExportTo::All => true,
            ExportTo::Namespaces(set) => set.contains(namespace),
        }
    }

    /// May nobody but `namespace` see the object?
    pub fn is_only(&self, namespace: &str) -> bool {
        match self {
            ExportTo::All => false,
            ExportTo::Namespaces(set) => set.len() == 1 && set.contains(namespace),
        }
    }

    /// Those that may see it under either.
    pub fn union(&self, other: &ExportTo) -> ExportTo {
        match (self, other) {
            (ExportTo::Namespaces(a), ExportTo::Namespaces(b)) => {
                ExportTo::Namespaces(a.union(b).cloned().collect())
            }
            _ => ExportTo::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_is_the_own_namespace_and_tilde_is_nobody() {
        let read = |values: &[&str]| ExportTo::read(values, "shop", &ExportTo::All);
        assert!(read(&[]).allows("any"));
        assert!(read(&["."]).allows("shop"));
        assert!(!read(&["."]).allows("any"));
        assert!(read(&[".", "*"]).allows("any"));
        assert!(!read(&["~"]).allows("shop"));
        let default = ExportTo::Namespaces([".".to_owned()].into());
        assert!(ExportTo::read::<&str>(&[], "shop", &default).allows("shop"));
        assert!(!ExportTo::read::<&str>(&[], "shop", &default).allows("other"));
    }
}
