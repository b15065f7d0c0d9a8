//! The table of names, as look-ups need it.

use std::collections::HashMap;
use std::net::IpAddr;

use meltemi_proto::istio::nds::NameTable;

/// Addresses by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    hosts: HashMap<String, Vec<IpAddr>>,
    /// What resolvers append first: `.<namespace>.svc.<domain>`.
    search: String,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// The name that was meant, when a resolver appended the pod's search domain to it.
    pub meant: Option<&'a str>,
}

impl Table {
    /// The table for a pod whose names end with `domain` (`<namespace>.svc.<domain>`).
    pub fn new(message: &NameTable, namespace: &str, domain: &str) -> Self {
        let mut hosts = HashMap::with_capacity(message.table.len());
        for (host, info) in &message.table {
            let addresses: Vec<IpAddr> = info.ips.iter().filter_map(|ip| ip.parse().ok()).collect();
            let (short, of) = (&info.shortname, &info.namespace);
            if !short.is_empty() && !of.is_empty() {
                // A complete name of this spelling is stronger, so it is never replaced.
                let names = [format!("{short}.{of}"), format!("{short}.{of}.svc")];
                let own = (of == namespace).then(|| short.clone());
                for name in names.into_iter().chain(own).filter(|name| !message.table.contains_key(name)) {
                    hosts.insert(name.to_ascii_lowercase(), addresses.clone());
                }
            }
            hosts.insert(host.to_ascii_lowercase(), addresses);
        }
        Self { hosts, search: format!(".{}", domain.to_ascii_lowercase()) }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Looks a name up, without its final dot. `None`: it is none of the mesh's.
    pub fn find<'a>(&'a self, name: &'a str) -> Option<Found<'a>> {
        if let Some(addresses) = self.hosts.get(name) {
            return Some(Found { addresses, meant: None });
        }
        // Resolvers try the search domains first; answering at once saves the pod several questions.
        if let Some(meant) = name.strip_suffix(&self.search)
            && let Some(addresses) = self.hosts.get(meant).or_else(|| self.wildcard(meant))
        {
            return Some(Found { addresses, meant: Some(meant) });
        }
        let addresses = self.wildcard(name)?;
        Some(Found { addresses, meant: None })
    }

    /// The longest wildcard that covers a name.
    fn wildcard(&self, name: &str) -> Option<&Vec<IpAddr>> {
        let dots = name.match_indices('.').map(|(at, _)| at);
        dots.into_iter().find_map(|at| self.hosts.get(&format!("*{}", name.get(at..)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_proto::istio::nds::name_table::NameInfo;

    fn table() -> Table {
        let mut message = NameTable::default();
        let mut add = |host: &str, ip: &str, short: &str, namespace: &str| {
            let info = NameInfo {
                ips: vec![ip.to_owned()],
                registry: String::new(),
                shortname: short.to_owned(),
                namespace: namespace.to_owned(),
            };
            message.table.insert(host.to_owned(), info);
        };
        add("reviews.default.svc.cluster.local", "10.96.0.1", "reviews", "default");
        add("reviews.other.svc.cluster.local", "10.96.0.2", "reviews", "other");
        add("db.example", "240.240.0.3", "", "");
        add("*.wild.example", "240.240.0.4", "", "");
        add("*.a.wild.example", "240.240.0.5", "", "");
        add("reviews.other", "240.240.0.6", "", "");
        Table::new(&message, "default", "default.svc.cluster.local")
    }

    #[test]
    fn names_and_what_is_short_for_them() {
        let table = table();
        for (name, ip, meant) in [
            ("reviews.default.svc.cluster.local", "10.96.0.1", None),
            ("reviews.default.svc", "10.96.0.1", None),
            ("reviews.default", "10.96.0.1", None),
            ("reviews", "10.96.0.1", None),
            ("reviews.other.svc", "10.96.0.2", None),
            ("reviews.other", "240.240.0.6", None),
            ("db.example", "240.240.0.3", None),
            ("db.example.default.svc.cluster.local", "240.240.0.3", Some("db.example")),
            ("x.wild.example", "240.240.0.4", None),
            ("y.x.wild.example", "240.240.0.4", None),
            ("x.a.wild.example", "240.240.0.5", None),
            ("x.wild.example.default.svc.cluster.local", "240.240.0.4", Some("x.wild.example")),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(table.find(name), Some(Found { addresses: &[ip], meant }), "{name}");
        }
        for name in ["wild.example", "example", "db.example.svc.cluster.local", "details", ""] {
            assert_eq!(table.find(name), None, "{name}");
        }
    }
}
