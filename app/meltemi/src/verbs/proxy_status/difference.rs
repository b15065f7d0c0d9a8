//! What a proxy has against what the control plane would send it.

use std::collections::BTreeMap;
use std::fmt::Write;

use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::listener::v3::Listener;
use meltemi_proto::envoy::config::route::v3::RouteConfiguration;
use prost::{Message, Name};
use serde_json::Value;
use similar::TextDiff;

use crate::verbs::proxy_config::dump::Dump;
use crate::verbs::proxy_config::origin::canonical;
use crate::verbs::proxy_config::value::text;

/// The comparison.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// For people.
    pub text: String,
    /// Whether there is no difference.
    pub none: bool,
}

/// Compares clusters, listeners and routes.
pub fn report(expected: &Dump, actual: &Dump) -> Report {
    let mut report = Report { text: String::new(), none: true };
    let [clusters, listeners, routes] = expected.dynamic();
    let [own_clusters, own_listeners, own_routes] = actual.dynamic();
    part::<Cluster>(&mut report, "Clusters", &clusters, &own_clusters);
    part::<Listener>(&mut report, "Listeners", &listeners, &own_listeners);
    part::<RouteConfiguration>(&mut report, "Routes", &routes, &own_routes);
    report
}

fn part<M: Message + Name + Default>(
    report: &mut Report,
    what: &str,
    expected: &[&Value],
    actual: &[&Value],
) {
    let (expected, actual) = (texts::<M>(expected), texts::<M>(actual));
    if expected == actual {
        let _ = writeln!(report.text, "{what} Match");
        return;
    }
    report.none = false;
    let _ = writeln!(report.text, "{what} Don't Match");
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    for name in names {
        let empty = String::new();
        let (sent, held) = (expected.get(name).unwrap_or(&empty), actual.get(name).unwrap_or(&empty));
        if sent != held {
            let diff = TextDiff::from_lines(sent, held);
            let header = (format!("istiod {name}"), format!("proxy {name}"));
            let _ =
                write!(report.text, "{}", diff.unified_diff().context_radius(3).header(&header.0, &header.1));
        }
    }
}

/// Canonical text by name.
fn texts<M: Message + Name + Default>(resources: &[&Value]) -> BTreeMap<String, String> {
    let text_of = |resource: &Value| {
        let canonical = canonical::<M>([resource]);
        serde_json::to_string_pretty(canonical.get(0).unwrap_or(resource)).unwrap_or_default() + "\n"
    };
    resources.iter().map(|resource| (text(resource, "name").to_owned(), text_of(resource))).collect()
}
