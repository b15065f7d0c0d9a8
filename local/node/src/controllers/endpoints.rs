//! EndpointSlices and Endpoints: the addresses behind a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as LegacyPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt as _};

use super::{Context, Fault, ownership, workload};

const MANAGER: &str = "endpoint-controller";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Brings the slice and the Endpoints of one Service in line with its pods.
pub async fn reconcile(service: Arc<Service>, context: Arc<Context>) -> Result<Action, Fault> {
    let Some(spec) = service.spec.as_ref().filter(|_| service.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    let namespace = service.namespace().unwrap_or_default();
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty() && !is_external)
    else {
        // Without a selector users write the endpoints themselves; what we wrote while there was one goes.
        delete_others(&context.client, &namespace, &service, &[]).await?;
        return Ok(Action::await_change());
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let labels: Vec<String> = selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut pods = pods.list(&ListParams::default().labels(&labels.join(","))).await?.items;
    pods.sort_by_key(|pod| pod.name_any());
    let slices = slices(&service, &pods);
    let names: Vec<String> = slices.iter().map(|slice| slice.name_any()).collect();
    for slice in slices {
        write_slice(&context.client, &namespace, slice).await?;
    }
    delete_others(&context.client, &namespace, &service, &names).await?;
    write_endpoints(&context.client, &namespace, endpoints(&service, &pods)).await?;
    Ok(Action::await_change())
}

/// Deletes the slices that we made for a Service and that it no longer needs, such as one of a port that no pod has any more.
async fn delete_others(
    client: &Client,
    namespace: &str,
    service: &Service,
    wanted: &[String],
) -> Result<(), Fault> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let ours = format!("{SERVICE_NAME}={},{MANAGED_BY}={CONTROLLER}", service.name_any());
    let known = slices.list_metadata(&ListParams::default().labels(&ours)).await?;
    for slice in known.items.iter().filter(|slice| !wanted.contains(&slice.name_any())) {
        match slices.delete(&slice.name_any(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            outcome => _ = outcome?,
        }
    }
    Ok(())
}

/// The slices of a Service: one a distinct set of port numbers, because a named port may differ from pod to pod.
pub fn slices(service: &Service, pods: &[Pod]) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Vec<(String, i32, String)>, Vec<Endpoint>> = BTreeMap::new();
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    for pod in pods {
        if let Some(endpoint) = endpoint(pod, publish) {
            groups.entry(ports_key(service, pod)).or_default().push(endpoint);
        }
    }
    if groups.is_empty() {
        groups.insert(declared_ports(service), Vec::new());
    }
    // The commonest ports come first and carry the Service's plain name, which therefore never changes hands needlessly.
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(ports, endpoints)| (std::cmp::Reverse(endpoints.len()), ports.clone()));
    groups
        .into_iter()
        .enumerate()
        .map(|(index, (ports, endpoints))| slice(service, index, &ports, endpoints))
        .collect()
}

fn slice(
    service: &Service,
    index: usize,
    ports: &[(String, i32, String)],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.into(), service.name_any());
    labels.insert(MANAGED_BY.into(), CONTROLLER.into());
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    let app_protocol = |name: &str| {
        let declared = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
        declared
            .into_iter()
            .find(|port| port.name.as_deref().unwrap_or_default() == name)?
            .app_protocol
            .clone()
    };
    let suffix = if index == 0 { "slice".to_owned() } else { format!("slice-{index}") };
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-{suffix}", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(ownership::controlled_by(service)),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        ports: Some(
            ports
                .iter()
                .map(|(name, port, protocol)| EndpointPort {
                    name: Some(name.clone()),
                    port: Some(*port),
                    protocol: Some(protocol.clone()),
                    app_protocol: app_protocol(name),
                })
                .collect(),
        ),
        endpoints: Some(endpoints),
    }
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The pod as an endpoint; none without an address or after its end.
///
/// A terminating pod stays, marked so: it is `serving` as long as it answers, but no longer `ready`.
fn endpoint(pod: &Pod, publish_not_ready: bool) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.clone().filter(|address| !address.is_empty())?;
    if matches!(workload::phase(pod), "Succeeded" | "Failed") {
        return None;
    }
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = workload::is_ready(pod) || publish_not_ready;
    let spec = pod.spec.as_ref();
    let hostname = spec.filter(|spec| spec.subdomain.is_some()).and_then(|spec| spec.hostname.clone());
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(serving && (!terminating || publish_not_ready)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname,
        node_name: spec.and_then(|spec| spec.node_name.clone()),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    })
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn service_ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

fn ports_key(service: &Service, pod: &Pod) -> Vec<(String, i32, String)> {
    let resolved = service_ports(service).iter().filter_map(|port| Some(key(port, target(port, pod)?)));
    resolved.collect()
}

fn declared_ports(service: &Service) -> Vec<(String, i32, String)> {
    let number = |port: &ServicePort| match &port.target_port {
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(_)) => None,
        None => Some(port.port),
    };
    service_ports(service).iter().filter_map(|port| Some(key(port, number(port)?))).collect()
}

fn key(port: &ServicePort, number: i32) -> (String, i32, String) {
    (port.name.clone().unwrap_or_default(), number, port.protocol.clone().unwrap_or_else(|| "TCP".into()))
}

/// The number of a Service's port on this pod; none where the pod has no port of that name.
fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut ports = containers.filter_map(|container| container.ports.as_ref()).flatten();
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let same = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
        p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.find(same).map(|port| port.container_port)
}

/// The older form of the same facts, which `kubectl get endpoints` shows.
pub fn endpoints(service: &Service, pods: &[Pod]) -> Endpoints {
    let subsets = slices(service, pods).into_iter().filter_map(|slice| subset(&slice)).collect::<Vec<_>>();
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            labels: service.metadata.labels.clone(),
            owner_references: Some(ownership::controlled_by(service)),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
    }
}

fn subset(slice: &EndpointSlice) -> Option<EndpointSubset> {
    let address = |endpoint: &Endpoint| EndpointAddress {
        ip: endpoint.addresses.first().cloned().unwrap_or_default(),
        hostname: endpoint.hostname.clone(),
        node_name: endpoint.node_name.clone(),
        target_ref: endpoint.target_ref.clone(),
    };
    let conditions = |endpoint: &Endpoint| endpoint.conditions.clone().unwrap_or_default();
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    let living = || endpoints.iter().filter(|endpoint| conditions(endpoint).terminating != Some(true));
    let (ready, waiting): (Vec<_>, Vec<_>) =
        living().partition(|endpoint| conditions(endpoint).ready == Some(true));
    let some = |list: Vec<&Endpoint>| {
        Some(list.into_iter().map(address).collect::<Vec<_>>()).filter(|list| !list.is_empty())
    };
    let (addresses, not_ready_addresses) = (some(ready), some(waiting));
    if addresses.is_none() && not_ready_addresses.is_none() {
        return None;
    }
    let ports = slice.ports.iter().flatten().map(|port| LegacyPort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    });
    Some(EndpointSubset { addresses, not_ready_addresses, ports: Some(ports.collect()) })
}

async fn write_slice(client: &Client, namespace: &str, slice: EndpointSlice) -> Result<(), Fault> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let name = slice.name_any();
    if let Some(existing) = slices.get_opt(&name).await?
        && existing.endpoints == slice.endpoints
        && existing.ports == slice.ports
        && existing.metadata.labels == slice.metadata.labels
    {
        return Ok(());
    }
    let patch = PatchParams::apply(MANAGER).force();
    super::gone_is_fine(slices.patch(&name, &patch, &Patch::Apply(&slice)).await)
}

async fn write_endpoints(client: &Client, namespace: &str, wanted: Endpoints) -> Result<(), Fault> {
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), namespace);
    let name = wanted.name_any();
    if let Some(existing) = endpoints.get_opt(&name).await?
        && existing.subsets == wanted.subsets
        && existing.metadata.labels == wanted.metadata.labels
    {
        return Ok(());
    }
    let patch = PatchParams::apply(MANAGER).force();
    super::gone_is_fine(endpoints.patch(&name, &patch, &Patch::Apply(&wanted)).await)
}

#[cfg(test)]
mod tests;
