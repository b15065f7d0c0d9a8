//! `/debug/syncz` as a table.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::render::table::{Cell, Mood, Table};
use crate::verbs::proxy_config::value::text;

/// The columns, and Istio's names of them in `syncz`.
const TYPES: [(&str, &str); 5] = [
    ("CDS", "cluster"),
    ("LDS", "listener"),
    ("EDS", "endpoint"),
    ("RDS", "route"),
    ("ECDS", "extensionconfig"),
];

/// Whether a proxy has the resources of one type that it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The last push was accepted.
    Synced,
    /// The last push is not answered yet.
    Stale,
    /// No push was ever answered.
    Never,
    /// The last push was refused.
    Refused,
    /// Nothing was sent, as the proxy never asked.
    NotSent,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            State::Synced => "SYNCED",
            State::Stale => "STALE",
            State::Never => "STALE (Never Acknowledged)",
            State::Refused => "NACKED",
            State::NotSent => "NOT SENT",
        }
    }

    fn mood(self) -> Mood {
        match self {
            State::Synced => Mood::Good,
            State::NotSent => Mood::Plain,
            _ => Mood::Bad,
        }
    }
}

/// One proxy.
#[derive(Debug)]
pub struct Proxy {
    /// `pod.namespace`
    pub name: String,
    cluster: String,
    istiod: String,
    version: String,
    connected: String,
    states: [State; TYPES.len()],
    refusals: Vec<(String, String)>,
}

impl Proxy {
    /// Whether everything sent was accepted.
    pub fn in_sync(&self) -> bool {
        self.states.iter().all(|state| matches!(state, State::Synced | State::NotSent))
    }
}

/// The proxies of one control plane.
pub fn read(syncz: &Value, istiod: &str) -> Vec<Proxy> {
    let proxy = |status: &Value| {
        let errors = status.get("errors").and_then(Value::as_object);
        Proxy {
            name: text(status, "proxy").to_owned(),
            cluster: text(status, "cluster_id").to_owned(),
            istiod: istiod.to_owned(),
            version: text(status, "istio_version").to_owned(),
            connected: text(status, "connected_at").to_owned(),
            states: TYPES.map(|(short, name)| state(status, errors, short, name)),
            refusals: errors
                .into_iter()
                .flatten()
                .map(|(kind, error)| (kind.clone(), text(error, "error").to_owned()))
                .collect(),
        }
    };
    syncz.as_array().into_iter().flatten().map(proxy).collect()
}

fn state(status: &Value, errors: Option<&Map<String, Value>>, short: &str, name: &str) -> State {
    let sent = text(status, &format!("{name}_sent"));
    let acked = text(status, &format!("{name}_acked"));
    let refused = errors.is_some_and(|errors| errors.keys().any(|kind| kind.eq_ignore_ascii_case(short)));
    match (sent, acked) {
        _ if refused => State::Refused,
        ("", _) => State::NotSent,
        (sent, acked) if sent == acked => State::Synced,
        (_, "") => State::Never,
        _ => State::Stale,
    }
}

/// The table that users know.
pub fn table(proxies: &[Proxy], connected: bool) -> Table {
    let mut heads = vec!["NAME", "CLUSTER"];
    heads.extend(TYPES.map(|(short, _)| short));
    heads.extend(["ISTIOD", "VERSION"]);
    if connected {
        heads.push("CONNECTED");
    }
    let mut table = Table::new(5, heads);
    for proxy in proxies {
        let mut row = vec![Cell::from(proxy.name.as_str()), Cell::from(proxy.cluster.as_str())];
        row.extend(proxy.states.map(|state| Cell::new(state.words(), state.mood())));
        row.extend([Cell::from(proxy.istiod.as_str()), Cell::from(proxy.version.as_str())]);
        if connected {
            row.push(Cell::from(proxy.connected.as_str()));
        }
        table.row(row);
    }
    table
}

/// What was refused, and why.
pub fn refusals(proxies: &[Proxy]) -> String {
    let mut out = String::new();
    for proxy in proxies {
        for (kind, why) in &proxy.refusals {
            // Writing to memory does not fail.
            let _ = writeln!(out, "\n{} refused {kind} and keeps what it had: {why}", proxy.name);
        }
    }
    out
}

/// The list for programs.
pub fn value(proxies: &[Proxy]) -> Value {
    let each = |proxy: &Proxy| {
        let states: Map<String, Value> = TYPES
            .iter()
            .zip(proxy.states)
            .map(|((short, _), state)| ((*short).to_owned(), state.words().into()))
            .collect();
        let refusals: Map<String, Value> =
            proxy.refusals.iter().map(|(kind, why)| (kind.clone(), why.as_str().into())).collect();
        json!({
            "name": proxy.name, "cluster": proxy.cluster, "istiod": proxy.istiod, "version": proxy.version,
            "connectedAt": proxy.connected, "status": states, "errors": refusals,
        })
    };
    proxies.iter().map(each).collect()
}
