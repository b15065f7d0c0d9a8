//! What Services and EndpointSlices say that proxies do not follow.

use serde_json::Value;

use super::CODE;
use crate::Kind;
use crate::diagnostic::Diagnostic;
use crate::path::Path;

/// A field with the value that is not followed (any value without one), what comes of it, and the cure.
struct Row {
    kind: Kind,
    field: &'static [&'static str],
    value: Option<&'static str>,
    message: &'static str,
    cure: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        kind: Kind::Service,
        field: &["spec", "sessionAffinity"],
        value: Some("ClientIP"),
        message: "proxies choose an endpoint for every request: the affinity holds for clients without a proxy only",
        cure: "write a DestinationRule with `loadBalancer.consistentHash.useSourceIp`",
    },
    Row {
        kind: Kind::Service,
        field: &["metadata", "annotations", "traffic.istio.io/nodeSelector"],
        value: None,
        message: "this annotation has no effect in this version: addresses of nodes are not used",
        cure: "remove it",
    },
    Row {
        kind: Kind::EndpointSlice,
        field: &["addressType"],
        value: Some("FQDN"),
        message: "proxies do not resolve host names of EndpointSlices: these endpoints get no requests",
        cure: "write a ServiceEntry with `resolution: DNS`",
    },
];

pub(super) fn object(object: &Value, kind: Kind) -> Vec<Diagnostic> {
    let said = |row: &&Row| {
        let value = row.field.iter().try_fold(object, |value, key| value.get(key));
        value.is_some_and(|value| row.value.is_none_or(|wanted| value == wanted))
    };
    let finding = |row: &Row| {
        let path = row.field.iter().fold(Path::root(), |path, key| path.key(*key));
        Diagnostic::warning(path, row.message).code(CODE).cure(row.cure)
    };
    ROWS.iter().filter(|row| row.kind == kind).filter(said).map(finding).collect()
}
