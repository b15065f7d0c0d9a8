//! PeerAuthentication.

use crate::istio::PeerAuthentication;
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn check(spec: &PeerAuthentication, path: &Path, report: &mut Report) {
    let labels = spec.selector.as_ref().map(|selector| &selector.match_labels);
    if let Some(labels) = labels {
        names::labels(labels, &path.key("selector").key("matchLabels"), report);
    }
    let ports = path.key("portLevelMtls");
    if !spec.port_level_mtls.is_empty() && labels.is_none_or(std::collections::BTreeMap::is_empty) {
        let cure = "add `selector.matchLabels` for the workloads whose port it is";
        report.error(&ports, "settings of a port need a selector", cure);
    }
    for number in spec.port_level_mtls.keys() {
        report.port(&ports.key(number.to_string()), *number);
    }
}
