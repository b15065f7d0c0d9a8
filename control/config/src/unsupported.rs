//! What is read and checked but has no effect yet: the one table from which status, analysis and docs are made.

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Severity};
use crate::mesh_config::MeshConfig;
use crate::path::Path;
use crate::{AnyObject, Kind};

/// Code of findings about fields without effect.
pub const CODE: &str = "MEL0001";

/// Kind and field; `*` stands for every element of a list or entry of a map.
const FIELDS: &[(Kind, &str)] = &[
    (Kind::VirtualService, "http.*.fault.delay.exponentialDelay"),
    (Kind::VirtualService, "tcp.*.match.*.sourceSubnet"),
    (Kind::DestinationRule, "trafficPolicy.tunnel"),
    (Kind::DestinationRule, "trafficPolicy.proxyProtocol"),
    (Kind::DestinationRule, "trafficPolicy.retryBudget"),
    (Kind::DestinationRule, "trafficPolicy.loadBalancer.backendUtilization"),
    (Kind::DestinationRule, "trafficPolicy.loadBalancer.zoneAwareLbSetting"),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.tcp.maxConnectionDuration"),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.http.http2KeepAlive"),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection"),
    (Kind::DestinationRule, "trafficPolicy.portLevelSettings.*.outlierDetection"),
    (Kind::DestinationRule, "trafficPolicy.loadBalancer.consistentHash.httpCookie.ttl"),
    (Kind::DestinationRule, "trafficPolicy.loadBalancer.localityLbSetting.distribute"),
    (Kind::DestinationRule, "trafficPolicy.tls.caCrl"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.tunnel"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.proxyProtocol"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.retryBudget"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.loadBalancer.backendUtilization"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.loadBalancer.zoneAwareLbSetting"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.connectionPool.tcp.maxConnectionDuration"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.connectionPool.http.http2KeepAlive"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.outlierDetection"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.portLevelSettings.*.outlierDetection"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.loadBalancer.consistentHash.httpCookie.ttl"),
    (Kind::DestinationRule, "subsets.*.trafficPolicy.loadBalancer.localityLbSetting.distribute"),
    (Kind::Gateway, "servers.*.defaultEndpoint"),
    (Kind::Gateway, "servers.*.tls.caCrl"),
    (Kind::Gateway, "servers.*.port.targetPort"),
    (Kind::ServiceEntry, "resolution=DYNAMIC_DNS"),
    (Kind::Sidecar, "ingress"),
    (Kind::Sidecar, "egress.*.port"),
    (Kind::Sidecar, "egress.*.bind"),
    (Kind::Sidecar, "egress.*.captureMode"),
    (Kind::Sidecar, "inboundConnectionPool"),
    (Kind::Telemetry, "accessLogging.*.filter"),
    (Kind::Telemetry, "tracing"),
    (Kind::Telemetry, "metrics"),
];

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

/// Fields of MeshConfig that change nothing yet.
const MESH: &[&str] = &[
    "proxyHttpPort",
    "hboneIdleTimeout",
    "ingressClass",
    "ingressService",
    "ingressControllerMode",
    "ingressSelector",
    "enableTracing",
    "enableEnvoyAccessLogService",
    "disableEnvoyListenerLog",
    "inboundTrafficPolicy",
    "configSources",
    "caCertificates",
    "zoneAwareLbSetting",
    "inboundClusterStatName",
    "outboundClusterStatName",
    "certificates",
    "verifyCertificateAtClient",
    "ca",
    "discoverySelectors",
    "meshMTLS",
    "tlsDefaults",
    "serviceSettings",
    "serviceScopeConfigs",
    "serviceEntryVisibility",
    "defaultConfig.binaryPath",
    "defaultConfig.tracingServiceName",
    "defaultConfig.zipkinAddress",
    "defaultConfig.discoveryRefreshDelay",
    "defaultConfig.envoyMetricsServiceAddress",
    "defaultConfig.statsdUdpAddress",
    "defaultConfig.controlPlaneAuthPolicy",
    "defaultConfig.customConfigFile",
    "defaultConfig.statNameLength",
    "defaultConfig.proxyBootstrapTemplatePath",
    "defaultConfig.tracing",
    "defaultConfig.envoyAccessLogService",
    "defaultConfig.envoyMetricsService",
    "defaultConfig.runtimeValues",
    "defaultConfig.extraStatTags",
    "defaultConfig.caCertificatesPem",
    "defaultConfig.privateKeyProvider",
    "defaultConfig.proxyHeaders",
    "defaultConfig.fileFlushInterval",
    "defaultConfig.fileFlushMinSizeKb",
    "defaultConfig.statsCompression",
    "defaultConfig.connectionSettings",
];

/// The fields of an object that are set and have no effect yet.
pub fn object(object: &AnyObject) -> Vec<Diagnostic> {
    let kind = object.kind();
    if let Some(what) = self::kind(kind) {
        let message = format!("{kind} has no effect in this version: {what}");
        return vec![Diagnostic::warning(Path::root(), message).code(CODE)];
    }
    let rules: Vec<&str> = FIELDS.iter().filter(|(of, _)| *of == kind).map(|(_, field)| *field).collect();
    if rules.is_empty() {
        return Vec::new();
    }
    let value = object.to_value();
    let spec = value.get("spec").unwrap_or(&Value::Null);
    let mut found = Vec::new();
    for rule in rules {
        let (field, wanted) =
            rule.split_once('=').map_or((rule, None), |(field, value)| (field, Some(value)));
        let steps: Vec<&str> = field.split('.').collect();
        find(spec, &steps, &Path::root().key("spec"), &mut |path, value| {
            if wanted.is_none_or(|wanted| value == wanted) {
                found.push(finding(path.clone(), "this has no effect in this version".to_owned()));
            }
        });
    }
    found
}

/// The fields of MeshConfig that are set otherwise than by default and have no effect yet.
pub fn mesh(config: &MeshConfig) -> Vec<Diagnostic> {
    let set = serde_json::to_value(config).unwrap_or_default();
    let default = serde_json::to_value(MeshConfig::default()).unwrap_or_default();
    let differs = |field: &&&str| {
        let pointer = format!("/{}", field.replace('.', "/"));
        set.pointer(&pointer) != default.pointer(&pointer)
    };
    let message = "this setting has no effect in this version";
    MESH.iter().filter(differs).map(|field| finding(Path::parse(field), message.to_owned())).collect()
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shape::Shape;

    fn found(kind: Kind, spec: Value) -> Vec<String> {
        let value = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": "x"}, "spec": spec});
        object(&crate::parse(&value).expect("valid")).iter().map(|found| found.path.to_string()).collect()
    }

    #[test]
    fn names_what_is_set_and_nothing_else() {
        let tunnel = json!({"tunnel": {"targetHost": "a", "targetPort": 1}, "tls": {"mode": "SIMPLE"}});
        let spec = json!({"host": "a", "subsets": [{"name": "v1"}, {"name": "v2", "trafficPolicy": tunnel}]});
        assert_eq!(found(Kind::DestinationRule, spec), ["spec.subsets[1].trafficPolicy.tunnel"]);
        assert_eq!(found(Kind::AuthorizationPolicy, json!({})), [""]);
        assert!(found(Kind::PeerAuthentication, json!({"mtls": {"mode": "STRICT"}})).is_empty());
        assert_eq!(
            found(Kind::ServiceEntry, json!({"hosts": ["a"], "resolution": "DYNAMIC_DNS"})),
            ["spec.resolution"]
        );
        assert!(found(Kind::ServiceEntry, json!({"hosts": ["a"], "resolution": "DNS"})).is_empty());
    }

    #[test]
    fn names_settings_that_differ_from_the_default() {
        assert!(mesh(&MeshConfig::default()).is_empty());
        let config = MeshConfig::load(
            "meshMTLS: {minProtocolVersion: TLSV1_3}\ndefaultConfig: {runtimeValues: {a: b}}",
        )
        .expect("valid")
        .config;
        let paths: Vec<String> = mesh(&config).iter().map(|found| found.path.to_string()).collect();
        assert_eq!(paths, ["meshMTLS", "defaultConfig.runtimeValues"]);
    }

    /// A typo in the table would hide a field.
    #[test]
    fn every_row_names_a_field() {
        for (kind, field) in FIELDS {
            let steps: Vec<&str> = field.split('=').next().unwrap_or_default().split('.').collect();
            assert!(leads(Shape::of_kind(*kind).expect("a spec"), &steps), "{kind} {field}");
        }
        let shape = Shape::of::<MeshConfig>();
        for field in MESH {
            assert!(leads(&shape, &field.split('.').collect::<Vec<_>>()), "{field}");
        }
    }

    fn leads(shape: &Shape, steps: &[&str]) -> bool {
        let Some((step, rest)) = steps.split_first() else { return true };
        match shape {
            Shape::Message(message) => {
                message.fields.get(*step).is_some_and(|field| leads(&field.shape, rest))
            }
            Shape::List(inner) | Shape::Map(inner) => *step == "*" && leads(inner, rest),
            _ => false,
        }
    }
}
