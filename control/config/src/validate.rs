//! Rules about one object that go beyond types: Istio's own, each with its cause and cure.

mod authorization;
mod destination_rule;
mod envoy_filter;
mod extension;
mod fault;
mod gateway;
mod http_action;
mod http_route;
mod match_request;
pub(crate) mod names;
mod peer_authentication;
mod proxy_config;
mod report;
mod request_authentication;
mod service_entry;
mod sidecar;
mod telemetry;
mod tls;
mod traffic_policy;
mod virtual_service;
mod workload;

use crate::AnyObject;
use crate::diagnostic::Diagnostic;
use crate::path::Path;
use report::Report;

/// Every rule that an object breaks. Kubernetes' kinds are its API server's own business.
pub fn validate(object: &AnyObject) -> Vec<Diagnostic> {
    let mut report = Report::default();
    let spec = &Path::root().key("spec");
    match object {
        AnyObject::VirtualService(object) => virtual_service::check(&object.spec, spec, &mut report),
        AnyObject::DestinationRule(object) => destination_rule::check(&object.spec, spec, &mut report),
        AnyObject::Gateway(object) => gateway::check(&object.spec, spec, &mut report),
        AnyObject::ServiceEntry(object) => service_entry::check(&object.spec, spec, &mut report),
        AnyObject::Sidecar(object) => sidecar::check(&object.spec, spec, &mut report),
        AnyObject::WorkloadEntry(object) => workload::entry(&object.spec, spec, &mut report),
        AnyObject::WorkloadGroup(object) => workload::group(&object.spec, spec, &mut report),
        AnyObject::EnvoyFilter(object) => envoy_filter::check(&object.spec, spec, &mut report),
        AnyObject::ProxyConfig(object) => proxy_config::check(&object.spec, spec, &mut report),
        AnyObject::AuthorizationPolicy(object) => authorization::check(&object.spec, spec, &mut report),
        AnyObject::PeerAuthentication(object) => peer_authentication::check(&object.spec, spec, &mut report),
        AnyObject::RequestAuthentication(object) => {
            request_authentication::check(&object.spec, spec, &mut report);
        }
        AnyObject::Telemetry(object) => telemetry::check(&object.spec, spec, &mut report),
        AnyObject::WasmPlugin(object) => extension::wasm_plugin(&object.spec, spec, &mut report),
        AnyObject::TrafficExtension(object) => extension::traffic_extension(&object.spec, spec, &mut report),
        AnyObject::Service(_)
        | AnyObject::EndpointSlice(_)
        | AnyObject::Pod(_)
        | AnyObject::Namespace(_)
        | AnyObject::Secret(_)
        | AnyObject::ConfigMap(_)
        | AnyObject::Node(_) => {}
    }
    report.found
}

#[cfg(test)]
mod tests;
