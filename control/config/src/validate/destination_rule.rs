//! DestinationRule.

use crate::istio::DestinationRule;
use crate::path::Path;

use super::report::Report;
use super::{names, traffic_policy};

pub(super) fn check(spec: &DestinationRule, path: &Path, report: &mut Report) {
    report.name(&path.key("host"), names::wildcard_host(&spec.host));
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy::check(policy, &path.key("trafficPolicy"), report);
    }
    for (position, subset) in spec.subsets.iter().enumerate() {
        let path = path.key("subsets").index(position);
        report.name(&path.key("name"), names::dns_label(&subset.name));
        if spec.subsets[..position].iter().any(|before| before.name == subset.name) {
            let message = format!("subset {:?} stands twice", subset.name);
            report.error(&path.key("name"), message, "give each its own name");
        }
        names::labels(&subset.labels, &path.key("labels"), report);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy::check(policy, &path.key("trafficPolicy"), report);
        }
    }
    if let Some(selector) = &spec.workload_selector {
        let path = path.key("workloadSelector");
        if selector.match_labels.is_empty() {
            report.error(&path, "selects nothing", "add `matchLabels`, or remove it");
        }
        names::labels(&selector.match_labels, &path.key("matchLabels"), report);
    }
    names::export_to(&spec.export_to, &path.key("exportTo"), report);
}
