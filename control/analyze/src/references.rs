//! IST0101: what an object names and nobody has.

use meltemi_config::AnyObject;
use meltemi_config::istio::VirtualService;
use meltemi_config::istio::virtual_service::Destination;
use meltemi_config::path::Path;
use meltemi_config::suggest::nearest;
use meltemi_mesh::destination_rule::Client;
use meltemi_mesh::virtual_service::MESH_GATEWAY;
use meltemi_mesh::{Snapshot, host};

use crate::code::REFERENCED_RESOURCE_NOT_FOUND as NOT_FOUND;
use crate::context::{Context, error};

/// Every destination of a VirtualService with its place.
pub(crate) fn destinations(spec: &VirtualService) -> Vec<(Path, &Destination)> {
    let root = Path::root().key("spec");
    let mut all = Vec::new();
    for (i, route) in spec.http.iter().enumerate() {
        let path = root.key("http").index(i);
        for (j, target) in route.route.iter().enumerate() {
            all.push((path.key("route").index(j).key("destination"), &target.destination));
        }
        if let Some(mirror) = &route.mirror {
            all.push((path.key("mirror"), mirror));
        }
        for (j, mirror) in route.mirrors.iter().enumerate() {
            if let Some(destination) = &mirror.destination {
                all.push((path.key("mirrors").index(j).key("destination"), destination));
            }
        }
    }
    let tls = spec.tls.iter().enumerate().map(|(i, route)| (root.key("tls").index(i), &route.route));
    let tcp = spec.tcp.iter().enumerate().map(|(i, route)| (root.key("tcp").index(i), &route.route));
    for (path, routes) in tls.chain(tcp) {
        for (j, target) in routes.iter().enumerate() {
            all.push((path.key("route").index(j).key("destination"), &target.destination));
        }
    }
    all
}

/// Hosts, subsets, ports and gateways of VirtualServices.
pub(crate) fn virtual_services(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::VirtualService(object) = object else { continue };
        let namespace = object.meta.namespace.as_str();
        for (path, destination) in destinations(&object.spec) {
            destination_exists(context, position, namespace, (&path, destination));
        }
        for (index, gateway) in
            object.spec.gateways.iter().enumerate().filter(|(_, name)| *name != MESH_GATEWAY)
        {
            let (of, name) = gateway.split_once('/').unwrap_or((namespace, gateway));
            if context.snapshot.gateways.get(of, name).is_none() {
                let path = Path::root().key("spec").key("gateways").index(index);
                let message = format!("Referenced gateway not found: {gateway:?}");
                let known: Vec<String> =
                    context.snapshot.gateways.iter().map(gateway_name(namespace)).collect();
                let cure = meant(gateway, &known, "create the Gateway, or correct the name");
                context.add(position, error(NOT_FOUND, path, message).cure(cure));
            }
        }
    }
}

fn gateway_name<'a>(
    own: &'a str,
) -> impl Fn(&'a std::sync::Arc<meltemi_config::Object<meltemi_config::istio::Gateway>>) -> String {
    move |gateway| {
        let meta = &gateway.meta;
        if meta.namespace == own { meta.name.clone() } else { format!("{}/{}", meta.namespace, meta.name) }
    }
}

fn destination_exists(
    context: &mut Context<'_>,
    position: usize,
    namespace: &str,
    (path, destination): (&Path, &Destination),
) {
    let snapshot = context.snapshot;
    let hostname = host::resolve(&destination.host, namespace, &snapshot.settings.domain);
    let Some(service) = snapshot.service(&hostname, namespace) else {
        let message = format!("Referenced host not found: {:?}", destination.host);
        let known = hosts_near(snapshot, &destination.host, namespace);
        let cure =
            meant(&destination.host, &known, "create its Service or ServiceEntry, or correct the host");
        context.add(position, error(NOT_FOUND, path.key("host"), message).cure(cure));
        return;
    };
    if let Some(port) = &destination.port
        && service.ports.iter().all(|known| u32::from(known.number) != port.number)
    {
        let ports: Vec<String> = service.ports.iter().map(|port| port.number.to_string()).collect();
        let message = format!("Referenced host:port not found: \"{}:{}\"", destination.host, port.number);
        let cure = format!("the service has {}", ports.join(", "));
        context.add(position, error(NOT_FOUND, path.key("port").key("number"), message).cure(cure));
    }
    if destination.subset.is_empty() {
        return;
    }
    let labels = Default::default();
    let client = Client { namespace, labels: &labels, root_namespace: snapshot.settings.root_namespace() };
    let rule = snapshot.destination_rules.find(&client, &hostname, &service.key.namespace);
    if rule.as_ref().and_then(|rule| rule.subset(&destination.subset)).is_none() {
        let message = format!(
            "Referenced host+subset in destinationrule not found: \"{}+{}\"",
            destination.host, destination.subset
        );
        let known: Vec<String> = rule
            .map(|rule| rule.subsets.iter().map(|subset| subset.name.clone()).collect())
            .unwrap_or_default();
        let cure = meant(&destination.subset, &known, "add the subset to a DestinationRule of that host");
        context.add(position, error(NOT_FOUND, path.key("subset"), message).cure(cure));
    }
}

/// Host names as they could have been written here.
fn hosts_near(snapshot: &Snapshot, written: &str, namespace: &str) -> Vec<String> {
    let short = !written.contains('.');
    let services = snapshot.services.iter();
    let named = services.filter(|service| !short || service.key.namespace == namespace);
    named.map(|service| if short { service.name.clone() } else { service.key.hostname.clone() }).collect()
}

fn meant(written: &str, known: &[String], otherwise: &str) -> String {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    match nearest(written, &names) {
        Some(near) => format!("did you mean {near:?}? otherwise {otherwise}"),
        None if (1..=8).contains(&names.len()) => format!("there is {}; {otherwise}", names.join(", ")),
        None => otherwise.to_owned(),
    }
}

/// Workloads and certificates of Gateways. Without a pod in sight the input is no cluster, and nothing can be said.
pub(crate) fn gateways(context: &mut Context<'_>) {
    let pods = context.snapshot.pods.iter().next().is_some();
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::Gateway(object) = object else { continue };
        if !pods || object.spec.selector.is_empty() {
            continue;
        }
        let selected = |labels| meltemi_mesh::labels::contains(labels, &object.spec.selector);
        let workloads: Vec<_> = context.snapshot.pods.iter().filter(|pod| selected(&pod.labels)).collect();
        if workloads.is_empty() {
            let labels: Vec<String> =
                object.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!("Referenced selector not found: {:?}", labels.join(","));
            let cure = "start a gateway with these labels, or correct the selector";
            context.add(
                position,
                error(NOT_FOUND, Path::root().key("spec").key("selector"), message).cure(cure),
            );
            continue;
        }
        let namespaces: Vec<String> = workloads.iter().map(|pod| pod.namespace.clone()).collect();
        for (index, server) in object.spec.servers.iter().enumerate() {
            let name = server.tls.as_ref().map(|tls| tls.credential_name.as_str()).unwrap_or_default();
            let found = namespaces
                .iter()
                .any(|namespace| context.snapshot.credentials.get(namespace, name).is_some());
            if !name.is_empty() && !found {
                let path =
                    Path::root().key("spec").key("servers").index(index).key("tls").key("credentialName");
                let message = format!("Referenced credentialName not found: {name:?}");
                let cure =
                    format!("create a Secret of type kubernetes.io/tls in namespace {}", namespaces[0]);
                context.add(position, error(NOT_FOUND, path, message).cure(cure));
            }
        }
    }
}
