//! Ports: their names, the addresses they need, and which of several is meant.

use meltemi_config::AnyObject;
use meltemi_config::path::Path;
use meltemi_mesh::{Protocol, host};

use crate::code;
use crate::context::{Context, info, is_system, warning};
use crate::references::destinations;

/// IST0118: a port whose protocol cannot be told from its name.
pub(crate) fn service_names(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::Service(service) = object else { continue };
        let Some(spec) = &service.spec else { continue };
        if is_system(object.namespace()) || spec.type_.as_deref() == Some("ExternalName") {
            continue;
        }
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            let udp = port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP");
            let name = port.name.as_deref().unwrap_or_default();
            let prefix = name.split('-').next().unwrap_or_default();
            let told = Protocol::parse(prefix).is_some()
                || Protocol::parse(name).is_some()
                || port.app_protocol.is_some();
            if udp || told {
                continue;
            }
            let target = port.target_port.as_ref().map_or(port.port.to_string(), |target| match target {
                meltemi_config::k8s::IntOrString::Int(number) => number.to_string(),
                meltemi_config::k8s::IntOrString::String(name) => name.clone(),
            });
            let message = format!(
                "Port name {name} (port: {}, targetPort: {target}) doesn't follow the naming convention of Istio port.",
                port.port
            );
            let cure = "name it <protocol>[-<suffix>], such as http-web, or set `appProtocol`; until then the protocol is sniffed";
            let path = Path::root().key("spec").key("ports").index(index).key("name");
            context.add(
                position,
                info(code::PORT_NAME_IS_NOT_UNDER_NAMING_CONVENTION, path, message).cure(cure),
            );
        }
    }
}

/// IST0134: TCP without an address takes a whole port of everything.
pub(crate) fn service_entries(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::ServiceEntry(object) = object else { continue };
        let addressed = !object.spec.addresses.is_empty()
            || object.status.as_ref().is_some_and(|status| status.get("addresses").is_some());
        for (index, port) in object.spec.ports.iter().enumerate() {
            let tcp = matches!(port.protocol.to_ascii_uppercase().as_str(), "" | "TCP");
            if tcp && !addressed {
                let path = Path::root().key("spec").key("ports").index(index).key("protocol");
                let message = "ServiceEntry addresses are required for this protocol.";
                let cure = "set `addresses`, or a protocol that names its host: HTTP, HTTPS, TLS";
                context
                    .add(position, warning(code::SERVICE_ENTRY_ADDRESSES_REQUIRED, path, message).cure(cure));
            }
        }
    }
}

/// IST0112: a destination with several ports and none chosen, where the port of the request is not one of them.
pub(crate) fn destinations_of(context: &mut Context<'_>, position: usize) {
    let Some(AnyObject::VirtualService(object)) = context.objects.get(position) else { return };
    let namespace = object.meta.namespace.as_str();
    let only_mesh =
        object.spec.gateways.is_empty() || object.spec.gateways.iter().all(|gateway| gateway == "mesh");
    for (path, destination) in destinations(&object.spec) {
        let hostname = host::resolve(&destination.host, namespace, &context.snapshot.settings.domain);
        let Some(service) = context.snapshot.service(&hostname, namespace) else { continue };
        // In the mesh the request's own port is kept; at a gateway there is none to keep.
        if destination.port.is_none() && service.ports.len() > 1 && !only_mesh {
            let ports: Vec<String> = service.ports.iter().map(|port| port.number.to_string()).collect();
            let message = format!(
                "This VirtualService routes to a service {:?} that exposes multiple ports {}. Specifying a port in the destination is required to disambiguate.",
                destination.host,
                ports.join(" ")
            );
            let found = warning(code::VIRTUAL_SERVICE_DESTINATION_PORT_SELECTOR_REQUIRED, path, message);
            context.add(position, found.cure("add `port: {number: …}`"));
        }
    }
}

pub(crate) fn destinations_all(context: &mut Context<'_>) {
    for position in 0..context.objects.len() {
        destinations_of(context, position);
    }
}
