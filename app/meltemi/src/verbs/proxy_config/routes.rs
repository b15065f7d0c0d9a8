//! `proxy-config route`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::dump::Dump;
use super::origin;
use super::value::{at, list, text, texts};
use crate::render::table::Table;

/// Which routes to show.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only the route configuration with this name.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub name: String,
}

impl Filter {
    /// The route configurations that pass, ordered by name.
    pub fn of<'a>(&self, dump: &'a Dump) -> Vec<&'a Value> {
        let mut all = dump.routes();
        all.retain(|route| self.name.is_empty() || text(route, "name") == self.name);
        // Numbers in the order of numbers, before names.
        all.sort_by_key(|route| {
            let name = text(route, "name");
            (name.parse::<u32>().unwrap_or(u32::MAX), name)
        });
        all
    }
}

/// The table that users know.
pub fn table(routes: &[&Value]) -> Table {
    let mut table = Table::new(5, ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"]);
    for config in routes {
        for host in list(config, "virtual_hosts") {
            for (found, owner) in rows(host) {
                table.text_row([
                    text(config, "name").to_owned(),
                    text(host, "name").to_owned(),
                    domains(&texts(host, "domains")),
                    found,
                    owner,
                ]);
            }
        }
    }
    table
}

/// What matches and whose it is, for each route of a virtual host.
fn rows(host: &Value) -> Vec<(String, String)> {
    let routes = list(host, "routes");
    if routes.is_empty() {
        return vec![("/*".to_owned(), "404".to_owned())];
    }
    let shown = routes.iter().filter(|route| text(route, "route.cluster") != "PassthroughCluster");
    shown.map(|route| (path(at(route, "match")), origin::object(route, "virtual-service"))).collect()
}

/// The path part of a match.
pub fn path(matcher: &Value) -> String {
    let conditions = [
        (text(matcher, "prefix"), "", "*"),
        (text(matcher, "path_separated_prefix"), "PathPrefix:", ""),
        (text(matcher, "path"), "", ""),
        (text(matcher, "safe_regex.regex"), "regex ", ""),
    ];
    let present = conditions.into_iter().filter(|(value, ..)| !value.is_empty());
    present.map(|(value, before, after)| format!("{before}{value}{after}")).collect::<Vec<_>>().join(" ")
}

/// Domains without their forms with ports and without longer forms of what is already there; two at most.
fn domains(all: &[&str]) -> String {
    if let [only] = all {
        return (*only).to_owned();
    }
    let unique: BTreeSet<&str> = all.iter().copied().collect();
    let has_port = |domain: &str| match domain.rsplit_once(':') {
        Some((before, _)) => !before.contains(':') || before.ends_with(']'),
        None => false,
    };
    let expanded = |domain: &str| {
        [".svc.cluster.local", ".svc"]
            .iter()
            .any(|suffix| domain.strip_suffix(suffix).is_some_and(|short| unique.contains(short)))
    };
    let mut shown: Vec<&str> =
        all.iter().copied().filter(|domain| !has_port(domain) && !expanded(domain)).collect();
    // Names say more than addresses, short ones first.
    let is_address = |domain: &str| domain.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    shown.sort_by_key(|domain| (is_address(domain), domain.len()));
    match shown.as_slice() {
        [first, second, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second} + {} more...", rest.len())
        }
        few => few.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_shortened() {
        let all = [
            "reviews.default.svc.cluster.local",
            "reviews.default.svc.cluster.local:9080",
            "reviews",
            "reviews:9080",
            "reviews.default.svc",
            "reviews.default.svc:9080",
            "reviews.default",
            "reviews.default:9080",
            "10.96.4.2",
            "10.96.4.2:9080",
            "[fd00::1]",
            "[fd00::1]:9080",
        ];
        assert_eq!(domains(&all), "reviews, reviews.default + 2 more...");
        assert_eq!(domains(&["*"]), "*");
        assert_eq!(domains(&["*:80"]), "*:80");
    }
}
