//! `proxy-config listener`.

use serde_json::Value;

use super::dump::Dump;
use super::routes;
use super::value::{at, list, number, text, texts};
use crate::render::table::Table;

/// Which listeners to show.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only listeners with this address.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub address: String,
    /// Only listeners of this type: HTTP or TCP.
    #[arg(long = "type", default_value = "", hide_default_value = true)]
    pub kind: String,
    /// Only listeners with this port.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u64,
}

impl Filter {
    fn passes(&self, listener: &Value) -> bool {
        (self.address.is_empty() || addresses(listener).iter().any(|address| *address == self.address))
            && (self.port == 0 || port(listener) == self.port)
            && (self.kind.is_empty() || kind(listener).eq_ignore_ascii_case(&self.kind))
    }

    /// The listeners that pass, ordered by port and address.
    pub fn of<'a>(&self, dump: &'a Dump) -> Vec<&'a Value> {
        let mut all = dump.listeners();
        all.retain(|listener| self.passes(listener));
        all.sort_by_key(|listener| (port(listener), addresses(listener).join(",")));
        all
    }
}

fn addresses(listener: &Value) -> Vec<&str> {
    let more = list(listener, "additional_addresses").iter().map(|more| at(more, "address"));
    let all = std::iter::once(at(listener, "address")).chain(more);
    all.map(|address| match text(address, "socket_address.address") {
        "" => text(address, "pipe.path"),
        ip => ip,
    })
    .collect()
}

fn port(listener: &Value) -> u64 {
    number(listener, "address.socket_address.port_value").unwrap_or(0)
}

fn chains(listener: &Value) -> impl Iterator<Item = &Value> {
    list(listener, "filter_chains").iter().chain(listener.get("default_filter_chain"))
}

/// `HTTP`, `TCP` or `UNKNOWN`; `HTTP` wins where there are both.
fn kind(listener: &Value) -> &'static str {
    let names: Vec<&str> = chains(listener)
        .flat_map(|chain| list(chain, "filters"))
        .map(|filter| text(filter, "name"))
        .collect();
    if names.contains(&HTTP) {
        "HTTP"
    } else if names.contains(&TCP) {
        "TCP"
    } else {
        "UNKNOWN"
    }
}

const HTTP: &str = "envoy.filters.network.http_connection_manager";
const TCP: &str = "envoy.filters.network.tcp_proxy";

/// The table that users know: a row for each filter chain.
pub fn table(listeners: &[&Value]) -> Table {
    let mut table = Table::new(1, ["ADDRESSES", "PORT", "MATCH", "DESTINATION"]);
    for listener in listeners {
        let (address, port) = (addresses(listener).join(","), port(listener).to_string());
        let mut rows: Vec<(String, String)> = chains(listener)
            .map(|chain| (conditions(at(chain, "filter_chain_match")), destination(chain)))
            .collect();
        rows.dedup();
        for (found, destination) in rows {
            table.text_row([address.clone(), port.clone(), found, destination]);
        }
    }
    table
}

/// What a filter chain matches, in few words.
fn conditions(found: &Value) -> String {
    let mut words = Vec::new();
    let names = texts(found, "server_names");
    if !names.is_empty() {
        words.push(format!("SNI: {}", names.join(",")));
    }
    let transport = text(found, "transport_protocol");
    if !transport.is_empty() {
        words.push(format!("Trans: {transport}"));
    }
    let protocols = texts(found, "application_protocols");
    if !protocols.is_empty() {
        words.push(format!("App: {}", protocol_words(&protocols)));
    }
    let port = number(found, "destination_port");
    let ranges = list(found, "prefix_ranges");
    if !ranges.is_empty() {
        let each = ranges.iter().map(|range| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", range_text(range))
        });
        words.push(format!("Addr: {}", each.collect::<Vec<_>>().join(",")));
    } else if let Some(port) = port {
        words.push(format!("Addr: *:{port}"));
    }
    if words.is_empty() { "ALL".to_owned() } else { words.join("; ") }
}

/// Istio's usual sets of ALPN names have names of their own.
fn protocol_words(protocols: &[&str]) -> String {
    match protocols {
        ["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"] => "Istio HTTP Plain".to_owned(),
        ["http/1.0", "http/1.1", "h2c"] => "HTTP".to_owned(),
        ["http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"] => {
            "HTTP TLS".to_owned()
        }
        ["istio-peer-exchange", "istio"] => "TCP TLS".to_owned(),
        other => other.join(","),
    }
}

fn range_text(range: &Value) -> String {
    let (address, length) = (text(range, "address_prefix"), number(range, "prefix_len").unwrap_or(0));
    let single = if address.contains(':') { 128 } else { 32 };
    if length == single { address.to_owned() } else { format!("{address}/{length}") }
}

fn destination(chain: &Value) -> String {
    for filter in list(chain, "filters") {
        let config = at(filter, "typed_config");
        match text(filter, "name") {
            HTTP => return http(config),
            TCP => return tcp(config),
            _ => {}
        }
    }
    "Non-HTTP/Non-TCP".to_owned()
}

/// `PassthroughCluster`, `BlackHoleCluster` and their kin say what they are.
fn cluster(name: &str) -> String {
    if name.contains("Cluster") { name.to_owned() } else { format!("Cluster: {name}") }
}

fn tcp(config: &Value) -> String {
    let weighted = list(config, "weighted_clusters.clusters");
    if weighted.is_empty() {
        return cluster(text(config, "cluster"));
    }
    let each = weighted.iter().map(|c| format!("{} ({})", text(c, "name"), number(c, "weight").unwrap_or(0)));
    format!("Clusters: {}", each.collect::<Vec<_>>().join(", "))
}

fn http(config: &Value) -> String {
    let discovered = text(config, "rds.route_config_name");
    if !discovered.is_empty() {
        return format!("Route: {discovered}");
    }
    let hosts = list(config, "route_config.virtual_hosts");
    if let [host] = hosts
        && let ([route], ["*"]) = (list(host, "routes"), texts(host, "domains").as_slice())
        && text(route, "match.prefix") == "/"
        && !text(route, "route.cluster").is_empty()
    {
        return cluster(text(route, "route.cluster"));
    }
    if hosts.is_empty() {
        return "HTTP".to_owned();
    }
    let each = hosts.iter().map(|host| {
        let paths =
            list(host, "routes").iter().map(|route| routes::path(at(route, "match"))).collect::<Vec<_>>();
        match texts(host, "domains").as_slice() {
            ["*"] => paths.join(", "),
            domains => format!("{} {}", domains.join("/"), paths.join(", ")),
        }
    });
    format!("Inline Route: {}", each.collect::<Vec<_>>().join("; "))
}
