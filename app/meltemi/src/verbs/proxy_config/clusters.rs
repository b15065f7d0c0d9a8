//! `proxy-config cluster`.

use serde_json::Value;

use super::dump::Dump;
use super::origin;
use super::value::text;
use crate::render::table::Table;

/// Which clusters to show.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only clusters of this host.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub fqdn: String,
    /// Only clusters of this direction: inbound or outbound.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub direction: String,
    /// Only clusters of this port.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u32,
    /// Only clusters of this subset.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub subset: String,
}

/// `direction|port|subset|host`, or a name that means nothing more.
pub struct ClusterName<'a> {
    pub direction: &'a str,
    pub port: &'a str,
    pub subset: &'a str,
    pub host: &'a str,
}

/// The parts of a cluster's name.
pub fn parts(name: &str) -> Option<ClusterName<'_>> {
    let parts: Vec<_> = name.split('|').collect();
    match parts.as_slice() {
        [direction, port, subset, host] => Some(ClusterName { direction, port, subset, host }),
        _ => None,
    }
}

impl Filter {
    fn passes(&self, name: &str) -> bool {
        let Some(parts) = parts(name) else {
            let host = self.fqdn.is_empty() || name.contains(&self.fqdn);
            return host && self.direction.is_empty() && self.port == 0 && self.subset.is_empty();
        };
        (self.fqdn.is_empty() || parts.host.contains(&self.fqdn))
            && (self.direction.is_empty() || parts.direction == self.direction)
            && (self.port == 0 || parts.port == self.port.to_string())
            && (self.subset.is_empty() || parts.subset == self.subset)
    }

    /// The clusters that pass, ordered by host, subset, port and direction.
    pub fn of<'a>(&self, dump: &'a Dump) -> Vec<&'a Value> {
        let mut all = dump.clusters();
        all.retain(|cluster| self.passes(text(cluster, "name")));
        all.sort_by_key(|cluster| {
            let name = text(cluster, "name");
            match parts(name) {
                Some(p) => (p.host, p.subset, p.port.parse::<u32>().unwrap_or(0), p.direction),
                None => (name, "", 0, ""),
            }
        });
        all
    }
}

/// The table that users know.
pub fn table(clusters: &[&Value]) -> Table {
    let mut table =
        Table::new(5, ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"]);
    for cluster in clusters {
        let name = text(cluster, "name");
        let parts = parts(name).unwrap_or(ClusterName { direction: "-", port: "-", subset: "-", host: name });
        let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        table.text_row([
            parts.host.to_owned(),
            or_dash(parts.port),
            or_dash(parts.subset),
            or_dash(parts.direction),
            kind(cluster).to_owned(),
            origin::object(cluster, "destination-rule"),
        ]);
    }
    table
}

fn kind(cluster: &Value) -> &str {
    match (text(cluster, "type"), text(cluster, "cluster_type.name")) {
        // The first value of the enum is not written.
        ("", "") => "STATIC",
        ("", extension) => extension,
        (kind, _) => kind,
    }
}
