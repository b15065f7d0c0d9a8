//! EnvoyFilter.

use crate::istio::EnvoyFilter;
use crate::istio::envoy_filter::{ApplyTo, EnvoyConfigObjectPatch, PatchOperation};
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn check(spec: &EnvoyFilter, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.workload_selector {
        names::labels(&selector.labels, &path.key("workloadSelector").key("labels"), report);
    }
    if spec.config_patches.is_empty() {
        report.warning(&path.key("configPatches"), "there is no patch", "add one, or delete the object");
    }
    for (position, patch) in spec.config_patches.iter().enumerate() {
        self::patch(patch, &path.key("configPatches").index(position), report);
    }
}

fn patch(patch: &EnvoyConfigObjectPatch, path: &Path, report: &mut Report) {
    if patch.apply_to == ApplyTo::Invalid {
        report.error(
            &path.key("applyTo"),
            "what is patched is missing",
            "write LISTENER, CLUSTER, HTTP_FILTER or another",
        );
    }
    let Some(change) = &patch.patch else {
        report.error(&path.key("patch"), "the patch is missing", "write `operation` and `value`");
        return;
    };
    let path_of_change = path.key("patch");
    if change.operation == PatchOperation::Invalid {
        report.error(
            &path_of_change.key("operation"),
            "the operation is missing",
            "write MERGE, ADD, REMOVE or another",
        );
    }
    let removes = change.operation == PatchOperation::Remove;
    if !removes && change.value.is_none() {
        report.error(&path_of_change.key("value"), "the value is missing", "write the Envoy configuration");
    }
    if removes && change.value.is_some() {
        report.warning(&path_of_change.key("value"), "REMOVE ignores the value", "remove it");
    }
    relative(patch, change.operation, path, report);
    let Some(matches) = &patch.matches else { return };
    let path = path.key("match");
    if let Some(proxy) = &matches.proxy
        && !proxy.proxy_version.is_empty()
    {
        report.regex(&path.key("proxy").key("proxyVersion"), &proxy.proxy_version);
    }
    let fitting = match patch.apply_to {
        ApplyTo::Cluster => matches.cluster.is_some(),
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
            matches.route_configuration.is_some()
        }
        ApplyTo::Listener
        | ApplyTo::FilterChain
        | ApplyTo::NetworkFilter
        | ApplyTo::HttpFilter
        | ApplyTo::ListenerFilter => matches.listener.is_some(),
        _ => true,
    };
    let any =
        matches.cluster.is_some() || matches.route_configuration.is_some() || matches.listener.is_some();
    if any && !fitting && matches.waypoint.is_none() {
        report.error(&path, "the match is for another kind of object than `applyTo`", "match the same kind");
    }
}

/// Insertions beside something need to know beside what.
fn relative(patch: &EnvoyConfigObjectPatch, operation: PatchOperation, path: &Path, report: &mut Report) {
    let relative = matches!(
        operation,
        PatchOperation::InsertBefore | PatchOperation::InsertAfter | PatchOperation::Replace
    );
    let filter = matches!(patch.apply_to, ApplyTo::NetworkFilter | ApplyTo::HttpFilter);
    let matches = patch.matches.as_ref();
    let chain = matches.and_then(|m| m.listener.as_ref()).and_then(|listener| listener.filter_chain.as_ref());
    let named =
        chain.is_some_and(|chain| chain.filter.is_some()) || matches.is_some_and(|m| m.waypoint.is_some());
    if relative && filter && !named {
        let cure = "name it in `match.listener.filterChain.filter`";
        report.warning(path, "nothing says beside which filter", cure);
    }
}
