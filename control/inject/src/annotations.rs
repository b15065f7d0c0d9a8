//! Annotations on pods that change injection, and what their values must look like.

use std::net::IpAddr;

use serde_json::Value;

use crate::pod::PodRef;

/// Names of annotations and labels.
pub mod names {
    #![allow(missing_docs, reason = "each constant is its own value")]
    pub const INJECT: &str = "sidecar.istio.io/inject";
    pub const STATUS: &str = "sidecar.istio.io/status";
    pub const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
    pub const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
    pub const PROXY_IMAGE_TYPE: &str = "sidecar.istio.io/proxyImageType";
    pub const PROXY_CPU: &str = "sidecar.istio.io/proxyCPU";
    pub const PROXY_CPU_LIMIT: &str = "sidecar.istio.io/proxyCPULimit";
    pub const PROXY_MEMORY: &str = "sidecar.istio.io/proxyMemory";
    pub const PROXY_MEMORY_LIMIT: &str = "sidecar.istio.io/proxyMemoryLimit";
    pub const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";
    pub const BOOTSTRAP_OVERRIDE: &str = "sidecar.istio.io/bootstrapOverride";
    pub const USER_VOLUME: &str = "sidecar.istio.io/userVolume";
    pub const USER_VOLUME_MOUNT: &str = "sidecar.istio.io/userVolumeMount";
    pub const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
    pub const COMPONENT_LOG_LEVEL: &str = "sidecar.istio.io/componentLogLevel";
    pub const AGENT_LOG_LEVEL: &str = "sidecar.istio.io/agentLogLevel";
    pub const NATIVE_SIDECAR: &str = "sidecar.istio.io/nativeSidecar";
    pub const DISCOVERY_ADDRESS: &str = "sidecar.istio.io/discoveryAddress";
    pub const STATUS_PORT: &str = "status.sidecar.istio.io/port";
    pub const READINESS_INITIAL_DELAY: &str = "readiness.status.sidecar.istio.io/initialDelaySeconds";
    pub const READINESS_PERIOD: &str = "readiness.status.sidecar.istio.io/periodSeconds";
    pub const READINESS_FAILURES: &str = "readiness.status.sidecar.istio.io/failureThreshold";
    pub const INCLUDE_OUTBOUND_IPS: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
    pub const EXCLUDE_OUTBOUND_IPS: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    pub const INCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
    pub const EXCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
    pub const INCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
    pub const EXCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
    pub const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";
    pub const KUBEVIRT_INTERFACES: &str = "traffic.sidecar.istio.io/kubevirtInterfaces";
    pub const REROUTE_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
    pub const TEMPLATES: &str = "inject.istio.io/templates";
    pub const PROXY_CONFIG: &str = "proxy.istio.io/config";
    pub const PROXY_OVERRIDES: &str = "proxy.istio.io/overrides";
    pub const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";
    pub const REVISION: &str = "istio.io/rev";
    pub const NAMESPACE_INJECTION: &str = "istio-injection";
    pub const TLS_MODE: &str = "security.istio.io/tlsMode";
    pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
    pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
    pub const PROMETHEUS_SCRAPE: &str = "prometheus.io/scrape";
    pub const PROMETHEUS_PORT: &str = "prometheus.io/port";
    pub const PROMETHEUS_PATH: &str = "prometheus.io/path";
}

/// An annotation whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation `{name}`: `{value}` is not {expected}")]
pub struct AnnotationError {
    /// The annotation.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What was expected instead.
    pub expected: &'static str,
}

struct Rule {
    expected: &'static str,
    accepts: fn(&str) -> bool,
}

/// Checks every annotation we know. All faults are reported at once.
pub(crate) fn check(pod: PodRef<'_>) -> Result<(), Vec<AnnotationError>> {
    let faults: Vec<AnnotationError> = pod
        .annotations()
        .filter_map(|(name, value)| {
            let rule = rule(name)?;
            let expected = rule.expected;
            (!(rule.accepts)(value)).then(|| AnnotationError {
                name: name.to_owned(),
                value: value.to_owned(),
                expected,
            })
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn rule(name: &str) -> Option<Rule> {
    use names::*;
    let rule = |expected, accepts| Some(Rule { expected, accepts });
    match name {
        REWRITE_PROBES | NATIVE_SIDECAR | MERGE_METRICS => rule("`true` or `false`", |v| flag(v).is_some()),
        STATUS_PORT => rule("a port (0 to 65535)", |v| v.parse::<u16>().is_ok()),
        READINESS_INITIAL_DELAY | READINESS_PERIOD | READINESS_FAILURES => {
            rule("a whole number that is not negative", |v| v.parse::<u32>().is_ok())
        }
        INCLUDE_INBOUND_PORTS | INCLUDE_OUTBOUND_PORTS => {
            rule("`*` or a list of ports like `80,9090`", |v| v == "*" || port_list(v))
        }
        EXCLUDE_INBOUND_PORTS | EXCLUDE_OUTBOUND_PORTS => rule("a list of ports like `80,9090`", port_list),
        INCLUDE_OUTBOUND_IPS => {
            rule("`*` or a list of CIDRs like `10.0.0.0/8`", |v| v == "*" || cidr_list(v))
        }
        EXCLUDE_OUTBOUND_IPS => rule("a list of CIDRs like `10.0.0.0/8`", cidr_list),
        INTERCEPTION_MODE => {
            rule("`REDIRECT`, `TPROXY` or `NONE`", |v| matches!(v, "REDIRECT" | "TPROXY" | "NONE"))
        }
        PROXY_CPU | PROXY_CPU_LIMIT | PROXY_MEMORY | PROXY_MEMORY_LIMIT => {
            rule("a Kubernetes quantity like `100m` or `128Mi`", quantity)
        }
        USER_VOLUME | USER_VOLUME_MOUNT => rule("a JSON object or a JSON list", |v| {
            matches!(serde_json::from_str::<Value>(v), Ok(Value::Array(_) | Value::Object(_)))
        }),
        _ => None,
    }
}

/// Kubernetes-style booleans.
pub(crate) fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn port_list(value: &str) -> bool {
    items(value).all(|port| port.parse::<u16>().is_ok())
}

fn cidr_list(value: &str) -> bool {
    items(value).all(|cidr| {
        let (address, length) = cidr.split_once('/').map_or((cidr, None), |(a, l)| (a, Some(l)));
        let Ok(address) = address.parse::<IpAddr>() else { return false };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= longest))
    })
}

fn quantity(value: &str) -> bool {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    number.parse::<f64>().is_ok()
        && matches!(unit, "" | "m" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti" | "u" | "n")
}
