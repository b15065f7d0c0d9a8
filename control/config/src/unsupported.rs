//! What is read and checked but has no effect yet: the one table from which status, analysis and docs are made.

mod kubernetes;
mod mesh;

use serde_json::Value;

pub use self::mesh::{mesh, networks};
use crate::diagnostic::{Diagnostic, Severity};
use crate::path::Path;
use crate::{AnyObject, Kind};

/// Code of findings about fields without effect.
pub const CODE: &str = "MEL0001";

/// Kind and field; `*` stands for every element of a list or entry of a map.
const FIELDS: &[(Kind, &str)] = &[
    (Kind::VirtualService, "http.*.fault.delay.exponentialDelay"),
    (Kind::VirtualService, "http.*.fault.abort.http2Error"),
    (Kind::VirtualService, "tcp.*.match.*.sourceSubnet"),
    (Kind::Gateway, "servers.*.defaultEndpoint"),
    (Kind::Gateway, "servers.*.tls.insecureSkipVerify"),
    (Kind::Gateway, "servers.*.tls.maxProtocolVersion=TLSV1_0"),
    (Kind::Gateway, "servers.*.tls.maxProtocolVersion=TLSV1_1"),
    (Kind::Gateway, "servers.*.tls.tlsCertificates.*.caCertificates"),
    (Kind::Gateway, "servers.*.tls.mode=AUTO_PASSTHROUGH"),
    (Kind::Gateway, "servers.*.port.protocol=HBONE"),
    (Kind::Gateway, "servers.*.port.protocol=HTTP_PROXY"),
    (Kind::Gateway, "servers.*.port.protocol=GRPC-WEB-TEXT"),
    (Kind::Gateway, "servers.*.port.targetPort"),
    (Kind::ServiceEntry, "resolution=DYNAMIC_DNS"),
    (Kind::Sidecar, "ingress"),
    (Kind::Sidecar, "egress.*.port"),
    (Kind::Sidecar, "egress.*.bind"),
    (Kind::Sidecar, "egress.*.captureMode"),
    (Kind::Sidecar, "inboundConnectionPool"),
    (Kind::Sidecar, "outboundTrafficPolicy.mode=ALLOW_ANY_DYNAMIC_DNS"),
    (Kind::Sidecar, "outboundTrafficPolicy.egressProxy"),
    (Kind::Telemetry, "targetRef"),
    (Kind::Telemetry, "targetRefs"),
    (Kind::Telemetry, "accessLogging.*.filter"),
    (Kind::Telemetry, "tracing"),
    (Kind::Telemetry, "metrics"),
];

/// Fields of a traffic policy, wherever a DestinationRule has one.
const POLICY: &[&str] = &[
    "tunnel",
    "proxyProtocol",
    "retryBudget",
    "loadBalancer.backendUtilization",
    "loadBalancer.warmup",
    "loadBalancer.warmupDurationSecs",
    "loadBalancer.zoneAwareLbSetting",
    "loadBalancer.consistentHash.httpCookie.ttl",
    "loadBalancer.localityLbSetting.distribute",
    "loadBalancer.localityLbSetting.failoverPriority",
    "connectionPool.tcp.maxConnectionDuration",
    "connectionPool.http.http2KeepAlive",
    // It takes no endpoint out yet; that it is there lets near localities go first.
    "outlierDetection",
];

/// Those that a port's settings have as well: all but these.
const WHOLE_HOST_ONLY: &[&str] = &["tunnel", "proxyProtocol", "retryBudget"];

/// Where DestinationRules have traffic policies.
const POLICIES: [&str; 2] = ["trafficPolicy", "subsets.*.trafficPolicy"];

/// The fields of a kind that have no effect.
fn fields(kind: Kind) -> Vec<String> {
    let mut all: Vec<String> =
        FIELDS.iter().filter(|(of, _)| *of == kind).map(|(_, field)| (*field).to_owned()).collect();
    if kind == Kind::DestinationRule {
        for policy in POLICIES {
            all.extend(POLICY.iter().map(|field| format!("{policy}.{field}")));
            let of_ports = POLICY.iter().filter(|field| !WHOLE_HOST_ONLY.contains(field));
            all.extend(of_ports.map(|field| format!("{policy}.portLevelSettings.*.{field}")));
        }
    }
    all
}

/// What an object of a kind does not do; nothing for the kinds that are in force.
pub fn kind(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::AuthorizationPolicy => Some("it is not enforced: requests that it would deny pass"),
        Kind::RequestAuthentication => Some("it is not enforced: tokens of requests are not checked"),
        Kind::EnvoyFilter => Some("its patches are not applied"),
        Kind::ProxyConfig => Some("it is not applied; use the annotation proxy.istio.io/config of the pod"),
        Kind::WasmPlugin | Kind::TrafficExtension => Some("the extension is not loaded"),
        Kind::WorkloadGroup => Some("workloads are not registered by it; write WorkloadEntry objects"),
        _ => None,
    }
}

/// The fields of an object that are set and have no effect yet.
pub fn object(object: &AnyObject) -> Vec<Diagnostic> {
    let kind = object.kind();
    if let Some(what) = self::kind(kind) {
        let message = format!("{kind} has no effect in this version: {what}");
        return vec![Diagnostic::warning(Path::root(), message).code(CODE)];
    }
    if matches!(kind, Kind::Service | Kind::EndpointSlice) {
        return kubernetes::object(&object.to_value(), kind);
    }
    let rules = fields(kind);
    if rules.is_empty() {
        return Vec::new();
    }
    let value = object.to_value();
    let spec = value.get("spec").unwrap_or(&Value::Null);
    let mut found = Vec::new();
    for rule in rules {
        let (field, wanted) =
            rule.split_once('=').map_or((rule.as_str(), None), |(field, value)| (field, Some(value)));
        let steps: Vec<&str> = field.split('.').collect();
        find(spec, &steps, &Path::root().key("spec"), &mut |path, value| {
            if wanted.is_none_or(|wanted| value == wanted) {
                found.push(finding(path.clone(), "this has no effect in this version".to_owned()));
            }
        });
    }
    found
}

fn finding(path: Path, message: String) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, code: CODE, path, message, cure: None }
        .cure("traffic is handled as if it were not there")
}

/// Calls `each` for every value that the steps lead to.
fn find(value: &Value, steps: &[&str], path: &Path, each: &mut dyn FnMut(&Path, &Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return each(path, value);
    };
    match value {
        Value::Array(items) if *step == "*" => {
            for (position, item) in items.iter().enumerate() {
                find(item, rest, &path.index(position), each);
            }
        }
        Value::Object(entries) if *step == "*" => {
            for (key, entry) in entries {
                find(entry, rest, &path.key(key), each);
            }
        }
        Value::Object(entries) => {
            if let Some(entry) = entries.get(*step) {
                find(entry, rest, &path.key(*step), each);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
