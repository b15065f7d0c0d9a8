//! Gateways against their workloads, and VirtualServices against their gateways.

use meltemi_config::AnyObject;
use meltemi_config::path::Path;
use meltemi_mesh::virtual_service::MESH_GATEWAY;
use meltemi_mesh::{TargetPort, host};

use crate::code;
use crate::context::{Context, warning};

/// IST0104: a port on which no Service of the gateway brings traffic.
pub(crate) fn ports(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::Gateway(object) = object else { continue };
        let selected = |labels| meltemi_mesh::labels::contains(labels, &object.spec.selector);
        let pods: Vec<_> = context.snapshot.pods.iter().filter(|pod| selected(&pod.labels)).collect();
        if pods.is_empty() || object.spec.selector.is_empty() {
            continue;
        }
        let services = context.snapshot.services.iter();
        let services: Vec<_> = services
            .filter(|service| {
                pods.iter().any(|pod| pod.namespace == service.key.namespace && service.selects(&pod.labels))
            })
            .collect();
        if services.is_empty() {
            continue;
        }
        let reached = |number: u32| {
            services.iter().flat_map(|service| &service.ports).any(|port| {
                u32::from(port.number) == number
                    || matches!(port.target, TargetPort::Number(target) if u32::from(target) == number)
            })
        };
        for (index, server) in object.spec.servers.iter().enumerate() {
            let Some(port) = server.port.as_ref().filter(|port| !reached(port.number)) else { continue };
            let path = Path::root().key("spec").key("servers").index(index).key("port").key("number");
            let labels: Vec<String> =
                object.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!(
                "The gateway refers to a port that is not exposed on the workload (pod selector {}; port {})",
                labels.join(","),
                port.number
            );
            let cure = "use a port of the gateway's Service, or add the port to that Service";
            context.add(position, warning(code::GATEWAY_PORT_NOT_ON_WORKLOAD, path, message).cure(cure));
        }
    }
}

/// IST0132: a host of a VirtualService that its gateway does not serve.
pub(crate) fn virtual_service_hosts(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::VirtualService(object) = object else { continue };
        let own = object.meta.namespace.as_str();
        for gateway in object.spec.gateways.iter().filter(|name| *name != MESH_GATEWAY) {
            let (namespace, name) = gateway.split_once('/').unwrap_or((own, gateway));
            let Some(served) = context.snapshot.gateways.get(namespace, name) else { continue };
            for (index, wanted) in object.spec.hosts.iter().enumerate() {
                let complete = host::resolve(wanted, own, &context.snapshot.settings.domain);
                let hosts = served.spec.servers.iter().flat_map(|server| &server.hosts);
                let serves = |pattern: &String| {
                    let (scope, pattern) = pattern.split_once('/').unwrap_or(("*", pattern));
                    let visible = scope == "*" || scope == own || (scope == "." && namespace == own);
                    let full = host::resolve(pattern, namespace, &context.snapshot.settings.domain);
                    visible && (host::overlaps(&complete, &full) || host::overlaps(wanted, pattern))
                };
                if !hosts.clone().any(serves) {
                    let path = Path::root().key("spec").key("hosts").index(index);
                    let message = format!(
                        "one or more host [{wanted}] defined in VirtualService {own}/{} not found in Gateway {namespace}/{name}.",
                        object.meta.name
                    );
                    let list: Vec<&str> = hosts.map(String::as_str).collect();
                    let cure = format!(
                        "the gateway serves {}; add the host there, or correct it here",
                        list.join(", ")
                    );
                    context.add(
                        position,
                        warning(code::VIRTUAL_SERVICE_HOST_NOT_FOUND_IN_GATEWAY, path, message).cure(cure),
                    );
                }
            }
        }
    }
}
