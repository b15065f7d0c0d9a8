//! Kubernetes `Service` → [`Service`].

use k8s_openapi::api::core::v1::{Service as KubernetesService, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Distribution, Origin, Port, Resolution, Service, ServiceKey, TargetPort};
use crate::export::ExportTo;
use crate::host;
use crate::protocol::Protocol;

/// The annotation that limits who sees a Kubernetes service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Reads a Kubernetes service. `None` for one without a spec.
pub fn service(object: &KubernetesService, domain: &str, default_export: &ExportTo) -> Option<Service> {
    let spec = object.spec.as_ref()?;
    let meta = &object.metadata;
    let namespace = meta.namespace.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    let external_name = external_name(spec);
    let headless = external_name.is_none() && spec.cluster_ip.as_deref() == Some("None");
    let resolution = match (&external_name, headless) {
        (Some(_), _) => Resolution::Dns,
        (None, true) => Resolution::Passthrough,
        (None, false) => Resolution::Endpoints,
    };
    Some(Service {
        key: ServiceKey {
            hostname: host::service_hostname(&name, &namespace, domain),
            namespace: namespace.clone(),
        },
        name,
        origin: Origin::Kubernetes,
        addresses: cluster_ips(spec),
        auto_addresses: Vec::new(),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        resolution,
        headless,
        external: external_name.is_some(),
        external_name,
        export_to: export_to(object, &namespace, default_export),
        labels: meta.labels.clone().unwrap_or_default(),
        selector: spec.selector.clone().unwrap_or_default(),
        subject_alt_names: Vec::new(),
        load_balancer_addresses: load_balancer_addresses(object),
        node_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        distribution: distribution(object, spec),
        created: meta.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
    })
}

fn external_name(spec: &ServiceSpec) -> Option<String> {
    if spec.type_.as_deref() != Some("ExternalName") {
        return None;
    }
    spec.external_name.clone().filter(|name| !name.is_empty())
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<String> {
    let mut ips = spec.cluster_ips.clone().unwrap_or_default();
    if ips.is_empty() {
        ips.extend(spec.cluster_ip.clone());
    }
    ips.retain(|ip| !ip.is_empty() && ip != "None");
    ips
}

fn port(port: &ServicePort) -> Option<Port> {
    let number = u16::try_from(port.port).ok()?;
    let name = port.name.clone().unwrap_or_default();
    let transport = port.protocol.as_deref().unwrap_or("TCP");
    let target = match &port.target_port {
        Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
        Some(IntOrString::Int(target)) => {
            TargetPort::Number(u16::try_from(*target).ok().filter(|t| *t != 0)?)
        }
        None => TargetPort::Number(number),
    };
    let protocol = Protocol::of_service_port(transport, port.app_protocol.as_deref(), &name, number);
    let node_port = port.node_port.and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0);
    Some(Port { name, number, target, protocol, node_port })
}

fn export_to(object: &KubernetesService, namespace: &str, default: &ExportTo) -> ExportTo {
    let annotation = object.metadata.annotations.as_ref().and_then(|a| a.get(EXPORT_TO));
    let values: Vec<&str> = annotation
        .map(|a| a.split(',').map(str::trim).filter(|v| !v.is_empty()).collect())
        .unwrap_or_default();
    ExportTo::read(&values, namespace, default)
}

fn distribution(object: &KubernetesService, spec: &ServiceSpec) -> Distribution {
    let annotation = object.metadata.annotations.as_ref().and_then(|all| all.get(Distribution::ANNOTATION));
    let written = annotation.or(spec.traffic_distribution.as_ref());
    written.map(|text| Distribution::parse(text)).unwrap_or_default()
}

fn load_balancer_addresses(object: &KubernetesService) -> Vec<String> {
    let ingress =
        object.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|lb| lb.ingress.as_ref());
    let mut addresses: Vec<String> =
        ingress.into_iter().flatten().filter_map(|i| i.ip.clone().or_else(|| i.hostname.clone())).collect();
    addresses.extend(object.spec.as_ref().and_then(|s| s.external_ips.clone()).unwrap_or_default());
    addresses
}
