//! ServiceEntry → [`Service`]s, one a host, and their endpoints.

use std::collections::BTreeMap;

use meltemi_config::Object;
use meltemi_config::istio::service_entry::{Location, Resolution as EntryResolution, ServicePort};
use meltemi_config::istio::{ServiceEntry, WorkloadEntry};

use super::{Distribution, Origin, Port, Resolution, Service, ServiceKey, TargetPort};
use crate::endpoint::{Endpoint, ServiceEndpoints};
use crate::export::ExportTo;
use crate::host;
use crate::labels;
use crate::protocol::Protocol;
use crate::workload::{Locality, TLS_MODE_LABEL, Workload};

/// The services that an entry declares.
pub fn services(object: &Object<ServiceEntry>, default_export: &ExportTo) -> Vec<Service> {
    let (meta, spec) = (&object.meta, &object.spec);
    let service = |host: &String| Service {
        key: ServiceKey { hostname: host.to_ascii_lowercase(), namespace: meta.namespace.clone() },
        name: meta.name.clone(),
        origin: Origin::ServiceEntry,
        addresses: spec.addresses.clone(),
        auto_addresses: Vec::new(),
        ports: spec.ports.iter().filter_map(port).collect(),
        resolution: resolution(host, spec.resolution),
        headless: false,
        external: spec.location == Location::MeshExternal,
        external_name: None,
        export_to: ExportTo::read(&spec.export_to, &meta.namespace, default_export),
        labels: meta.labels.clone(),
        selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
        subject_alt_names: spec.subject_alt_names.clone(),
        load_balancer_addresses: Vec::new(),
        node_local: false,
        distribution: meta
            .annotations
            .get(Distribution::ANNOTATION)
            .map(|text| Distribution::parse(text))
            .unwrap_or_default(),
        created: meta.creation_timestamp.clone(),
    };
    spec.hosts.iter().filter(|host| !host.is_empty()).map(service).collect()
}

/// Is it given virtual IPs, for clients whose DNS look-ups are captured? Without one, a host of one port of bytes could not
/// be told from another.
pub fn wants_address(service: &Service) -> bool {
    const OPT_OUT: &str = "networking.istio.io/enable-autoallocate-ip";
    service.addresses.is_empty()
        && service.resolution != Resolution::Passthrough
        && !host::is_wildcard(&service.key.hostname)
        && service.labels.get(OPT_OUT).map(String::as_str) != Some("false")
}

fn port(port: &ServicePort) -> Option<Port> {
    let number = u16::try_from(port.number).ok().filter(|n| *n != 0)?;
    let target = u16::try_from(port.target_port).ok().filter(|n| *n != 0).unwrap_or(number);
    let protocol = match port.protocol.as_str() {
        "" => Protocol::of_service_port("TCP", None, &port.name, number),
        declared => Protocol::parse(declared).unwrap_or(Protocol::Auto),
    };
    Some(Port {
        name: port.name.clone(),
        number,
        target: TargetPort::Number(target),
        protocol,
        node_port: None,
    })
}

fn resolution(host: &str, resolution: EntryResolution) -> Resolution {
    match resolution {
        EntryResolution::None => Resolution::Passthrough,
        EntryResolution::Static => Resolution::Endpoints,
        // A wildcard is no name that anybody could resolve; the application's own look-up is followed.
        EntryResolution::DynamicDns if host::is_wildcard(host) => Resolution::Passthrough,
        EntryResolution::Dns | EntryResolution::DynamicDns => Resolution::Dns,
        EntryResolution::DnsRoundRobin => Resolution::DnsRoundRobin,
    }
}

/// The endpoints of one host of an entry: those written down, those selected, or the host itself.
pub fn endpoints<'a>(
    object: &Object<ServiceEntry>,
    service: &Service,
    selected: impl Iterator<Item = &'a Workload>,
    locality: impl Fn(&str) -> Locality,
) -> ServiceEndpoints {
    let mut all = ServiceEndpoints::default();
    for entry in &object.spec.endpoints {
        let workload = of_entry(&object.meta.namespace, &object.meta.name, &object.meta.name, entry);
        add(&mut all, service, &workload, &locality);
    }
    for workload in selected.filter(|w| labels::contains(&w.labels, &service.selector)) {
        add(&mut all, service, workload, &locality);
    }
    let alone = object.spec.endpoints.is_empty() && service.selector.is_empty();
    if alone && service.is_dns() && !host::is_wildcard(&service.key.hostname) {
        for port in &service.ports {
            let target = target_port(port, &BTreeMap::new());
            all.add(port.number, Endpoint::bare(&service.key.hostname, target, &service.key.namespace));
        }
    }
    all.finish()
}

fn add(
    all: &mut ServiceEndpoints,
    service: &Service,
    workload: &Workload,
    locality: &impl Fn(&str) -> Locality,
) {
    for port in &service.ports {
        for address in workload.addresses.iter().take(1) {
            let target = if address.starts_with("unix://") { 0 } else { target_port(port, &workload.ports) };
            let mut endpoint = Endpoint::of_workload(workload, address, target, locality(&workload.node));
            if workload.pod && !workload.ready {
                endpoint.health = crate::endpoint::Health::NotReady;
            }
            all.add(port.number, endpoint);
        }
    }
}

/// The port as the workload names it, else as the service maps it.
fn target_port(port: &Port, named: &BTreeMap<String, u16>) -> u16 {
    match (&port.target, named.get(&port.name)) {
        (_, Some(number)) => *number,
        (TargetPort::Number(number), None) => *number,
        (TargetPort::Name(_), None) => port.number,
    }
}

/// A WorkloadEntry as a workload.
pub fn of_entry(namespace: &str, name: &str, workload_name: &str, entry: &WorkloadEntry) -> Workload {
    let mut labels = entry.labels.clone();
    if !labels.contains_key(TLS_MODE_LABEL) && !entry.service_account.is_empty() {
        // An address with an identity runs a proxy.
        labels.insert(TLS_MODE_LABEL.to_owned(), "istio".to_owned());
    }
    let ports =
        entry.ports.iter().filter_map(|(name, port)| Some((name.clone(), u16::try_from(*port).ok()?)));
    Workload {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        pod: false,
        addresses: vec![entry.address.clone()],
        service_account: entry.service_account.clone(),
        node: String::new(),
        locality: (!entry.locality.is_empty()).then(|| Locality::parse(&entry.locality)),
        network: entry.network.clone(),
        weight: entry.weight,
        workload_name: workload_name.to_owned(),
        hostname: None,
        ports: ports.collect(),
        host_network: false,
        ready: true,
        labels,
    }
}
