//! Kinds that are read and checked, but not yet translated. Whoever writes such an object must hear that it does nothing.

use meltemi_config::Kind;

/// What an object of this kind does not do; nothing for the kinds that are in force.
pub fn without_effect(kind: Kind) -> Option<&'static str> {
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

/// The sentence for people.
pub fn notice(kind: Kind) -> Option<String> {
    without_effect(kind).map(|what| format!("{kind} has no effect in this version: {what}"))
}
