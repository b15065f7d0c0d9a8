//! Objects that stand in each other's way.

use std::collections::BTreeMap;

use meltemi_config::istio::gateway::Server;
use meltemi_config::path::Path;
use meltemi_config::{AnyObject, Object, istio};

use crate::code;
use crate::context::{Context, error};

/// IST0109: several VirtualServices for one host of the mesh. The oldest wins, whole; they are not merged.
pub(crate) fn virtual_services(context: &mut Context<'_>) {
    let mut by_host: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::VirtualService(object) = object else { continue };
        let (namespace, name) = (&object.meta.namespace, &object.meta.name);
        let Some(complete) = context.snapshot.virtual_services.get(namespace, name) else { continue };
        if !complete.has_gateway(meltemi_mesh::virtual_service::MESH_GATEWAY) {
            continue;
        }
        let only_own = object.spec.export_to.iter().any(|target| target == ".");
        for host in &complete.hosts {
            // What is shown to the own namespace only meets only its like.
            let scope = if only_own { namespace.as_str() } else { "*" };
            by_host
                .entry(format!("{scope}/{host}"))
                .or_default()
                .push((position, format!("{namespace}/{name}")));
        }
    }
    for (host, users) in &by_host {
        let host = host.split_once('/').map_or(host.as_str(), |(_, host)| host);
        // The same object in two files is one object: the later file replaces it.
        let mut names: Vec<&str> = users.iter().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            continue;
        }
        for (position, _) in users {
            let message = format!(
                "The VirtualServices {} associated with mesh gateway define the same host {host} which can lead to undefined behavior.",
                names.join(",")
            );
            let cure = "put their rules into one VirtualService, or let one delegate to the other";
            let found = error(
                code::CONFLICTING_MESH_GATEWAY_VIRTUAL_SERVICE_HOSTS,
                Path::root().key("spec").key("hosts"),
                message,
            );
            context.add(*position, found.cure(cure));
        }
    }
}

/// IST0110 and IST0111: several Sidecars for one workload, or for one namespace.
pub(crate) fn sidecars(context: &mut Context<'_>) {
    let sidecars: Vec<(usize, &Object<istio::Sidecar>)> = context
        .objects
        .iter()
        .enumerate()
        .filter_map(|(position, object)| match object {
            AnyObject::Sidecar(sidecar) => Some((position, sidecar.as_ref())),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (position, sidecar) in &sidecars {
        let others = sidecars
            .iter()
            .filter(|(other, object)| other != position && object.meta.namespace == sidecar.meta.namespace);
        let path = Path::root().key("spec").key("workloadSelector");
        match labels_of(sidecar) {
            None => {
                let rivals: Vec<&str> = others
                    .filter(|(_, object)| labels_of(object).is_none())
                    .map(|(_, object)| object.meta.name.as_str())
                    .collect();
                if !rivals.is_empty() {
                    let message = format!(
                        "The Sidecars {}, {} in namespace {:?} have no workload selector, so only one of them applies.",
                        sidecar.meta.name,
                        rivals.join(", "),
                        sidecar.meta.namespace
                    );
                    let diagnostic = error(code::MULTIPLE_SIDECARS_WITHOUT_WORKLOAD_SELECTORS, path, message);
                    found.push((*position, diagnostic.cure("put them together, or give them selectors")));
                }
            }
            Some(labels) => {
                let pods = context.snapshot.pods.iter().filter(|pod| pod.namespace == sidecar.meta.namespace);
                let mine: Vec<_> =
                    pods.filter(|pod| meltemi_mesh::labels::contains(&pod.labels, labels)).collect();
                for (_, other) in others {
                    let Some(theirs) = labels_of(other) else { continue };
                    if let Some(pod) =
                        mine.iter().find(|pod| meltemi_mesh::labels::contains(&pod.labels, theirs))
                    {
                        let message = format!(
                            "The Sidecars {:?} and {:?} select the same workload pod {:?}, which can lead to undefined behavior.",
                            sidecar.meta.name, other.meta.name, pod.name
                        );
                        let diagnostic =
                            error(code::CONFLICTING_SIDECAR_WORKLOAD_SELECTORS, path.clone(), message);
                        found.push((*position, diagnostic.cure("make the selectors exclude each other")));
                    }
                }
            }
        }
    }
    found.into_iter().for_each(|(position, diagnostic)| context.add(position, diagnostic));
}

fn labels_of(sidecar: &Object<istio::Sidecar>) -> Option<&BTreeMap<String, String>> {
    sidecar
        .spec
        .workload_selector
        .as_ref()
        .map(|selector| &selector.labels)
        .filter(|labels| !labels.is_empty())
}

/// IST0145: two Gateways with the same selector, port and host.
pub(crate) fn gateways(context: &mut Context<'_>) {
    let mut seen: BTreeMap<(String, u32, String, String), (usize, String)> = BTreeMap::new();
    let mut found = Vec::new();
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::Gateway(object) = object else { continue };
        let selector = format!("{:?}", object.spec.selector);
        for (index, server) in object.spec.servers.iter().enumerate() {
            for (which, host) in server.hosts.iter().enumerate() {
                let key = (selector.clone(), port_of(server), server.bind.clone(), host.clone());
                let own = format!("{}/{}", object.meta.namespace, object.meta.name);
                match seen.get(&key) {
                    Some((first, other)) if *first != position => {
                        let path =
                            Path::root().key("spec").key("servers").index(index).key("hosts").index(which);
                        let message = format!(
                            "Conflict with gateways {other} (workload selector {selector}, port {}, hosts {host}).",
                            key.1
                        );
                        let cure = "give the host to one of them";
                        found.push((position, error(code::CONFLICTING_GATEWAYS, path, message).cure(cure)));
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(key, (position, own));
                    }
                }
            }
        }
    }
    found.into_iter().for_each(|(position, diagnostic)| context.add(position, diagnostic));
}

fn port_of(server: &Server) -> u32 {
    server.port.as_ref().map_or(0, |port| port.number)
}
