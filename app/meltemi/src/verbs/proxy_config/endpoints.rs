//! `proxy-config endpoint`: from `/clusters`, where the proxy says what it thinks of each endpoint, or from a dump with endpoints.

use serde_json::{Value, json};

use super::dump::Dump;
use super::value::{at, list, number, text};
use crate::render::table::{Cell, Mood, Table};

/// Which endpoints to show.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only endpoints with this address.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub address: String,
    /// Only endpoints with this port.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u64,
    /// Only endpoints of this cluster.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub cluster: String,
    /// Only endpoints in this state, e.g. healthy.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub status: String,
}

/// One endpoint of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    address: String,
    ip: String,
    port: u64,
    status: String,
    ejected: bool,
    cluster: String,
}

impl Filter {
    /// The endpoints that pass, ordered by address and cluster.
    pub fn apply(&self, mut all: Vec<Endpoint>) -> Vec<Endpoint> {
        all.retain(|endpoint| {
            (self.address.is_empty() || endpoint.ip == self.address || endpoint.address == self.address)
                && (self.port == 0 || endpoint.port == self.port)
                && (self.cluster.is_empty() || endpoint.cluster == self.cluster)
                && (self.status.is_empty() || endpoint.status.eq_ignore_ascii_case(&self.status))
        });
        all.sort_by(|a, b| (&a.address, &a.cluster).cmp(&(&b.address, &b.cluster)));
        all.dedup();
        all
    }
}

/// Endpoints of `/clusters?format=json`.
pub fn of_clusters(clusters: &Value) -> Vec<Endpoint> {
    let hosts = |cluster: &'_ Value| {
        let name = text(cluster, "name").to_owned();
        list(cluster, "host_statuses")
            .iter()
            .map(move |host| {
                let ejected = at(host, "health_status.failed_outlier_check").as_bool().unwrap_or(false);
                endpoint(&name, at(host, "address"), text(host, "health_status.eds_health_status"), ejected)
            })
            .collect::<Vec<_>>()
    };
    list(clusters, "cluster_statuses").iter().flat_map(hosts).collect()
}

/// Endpoints of a dump made with `include_eds`.
pub fn of_dump(dump: &Dump) -> Vec<Endpoint> {
    let mut all = Vec::new();
    for assignment in dump.endpoints() {
        let name = text(assignment, "cluster_name");
        let groups = list(assignment, "endpoints").iter().flat_map(|group| list(group, "lb_endpoints"));
        all.extend(
            groups
                .map(|host| endpoint(name, at(host, "endpoint.address"), text(host, "health_status"), false)),
        );
    }
    all
}

fn endpoint(cluster: &str, address: &Value, status: &str, ejected: bool) -> Endpoint {
    let ip = text(address, "socket_address.address");
    let port = number(address, "socket_address.port_value").unwrap_or(0);
    let (pipe, internal) =
        (text(address, "pipe.path"), text(address, "envoy_internal_address.server_listener_name"));
    let shown = match (ip.is_empty(), pipe.is_empty()) {
        (false, _) if ip.contains(':') => format!("[{ip}]:{port}"),
        (false, _) => format!("{ip}:{port}"),
        (_, false) => format!("unix://{pipe}"),
        _ => format!("envoy://{internal}/{}", text(address, "envoy_internal_address.endpoint_id")),
    };
    // A static endpoint has no state of its own, and Envoy takes it for healthy.
    let status = if matches!(status, "" | "UNKNOWN") { "HEALTHY" } else { status };
    let cluster = cluster.to_owned();
    Endpoint { address: shown, ip: ip.to_owned(), port, status: status.to_owned(), ejected, cluster }
}

/// The table that users know.
pub fn table(endpoints: &[Endpoint]) -> Table {
    let mut table = Table::new(5, ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"]);
    for endpoint in endpoints {
        let mood = |good: bool| if good { Mood::Good } else { Mood::Bad };
        table.row([
            Cell::from(endpoint.address.as_str()),
            Cell::new(endpoint.status.as_str(), mood(endpoint.status == "HEALTHY")),
            Cell::new(if endpoint.ejected { "FAILED" } else { "OK" }, mood(!endpoint.ejected)),
            Cell::from(endpoint.cluster.as_str()),
        ]);
    }
    table
}

/// The endpoints for programs.
pub fn value(endpoints: &[Endpoint]) -> Value {
    let each = |endpoint: &Endpoint| {
        json!({
            "address": endpoint.address, "status": endpoint.status,
            "outlierCheck": if endpoint.ejected { "FAILED" } else { "OK" }, "cluster": endpoint.cluster,
        })
    };
    endpoints.iter().map(each).collect()
}
