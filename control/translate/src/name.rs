//! The table of names: what the agent answers to captured look-ups.

use meltemi_mesh::endpoint::Health;
use meltemi_mesh::service::{Origin, Service};
use meltemi_mesh::{ProxyView, Resolution, Snapshot};
use meltemi_proto::istio::nds::NameTable;
use meltemi_proto::istio::nds::name_table::NameInfo;

/// Every host that the proxy may call and that has addresses.
pub fn name_table(snapshot: &Snapshot, view: &ProxyView) -> NameTable {
    let mut table = NameTable::default();
    for service in view.services.iter() {
        let ips = addresses(snapshot, view, service);
        if ips.is_empty() {
            continue;
        }
        if service.headless {
            pods(snapshot, service, &mut table);
        }
        table.table.insert(service.key.hostname.clone(), info(service, ips));
    }
    table
}

fn info(service: &Service, ips: Vec<String>) -> NameInfo {
    match service.origin {
        Origin::Kubernetes => NameInfo {
            ips,
            registry: "Kubernetes".to_owned(),
            shortname: service.name.clone(),
            namespace: service.key.namespace.clone(),
        },
        Origin::ServiceEntry => NameInfo { ips, registry: "External".to_owned(), ..NameInfo::default() },
    }
}

/// What a look-up gives: virtual IPs, or the pods of a service that has none. Blocks of addresses are none.
fn addresses(snapshot: &Snapshot, view: &ProxyView, service: &Service) -> Vec<String> {
    let written = view.addresses(service);
    if !written.is_empty() {
        return written.iter().filter(|address| is_address(address)).cloned().collect();
    }
    if service.resolution != Resolution::Passthrough {
        return Vec::new();
    }
    let (Some(endpoints), Some(port)) = (snapshot.endpoints_of(&service.key), service.ports.first()) else {
        return Vec::new();
    };
    let ready = endpoints.of_port(port.number).iter().filter(|endpoint| endpoint.health == Health::Ready);
    let mut ips: Vec<String> = ready.map(|e| e.address.clone()).filter(|a| is_address(a)).collect();
    ips.sort();
    ips.dedup();
    ips
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// The pods of a headless service by their own names, as a StatefulSet gives them.
fn pods(snapshot: &Snapshot, service: &Service, table: &mut NameTable) {
    let (Some(endpoints), Some(port)) = (snapshot.endpoints_of(&service.key), service.ports.first()) else {
        return;
    };
    for endpoint in endpoints.of_port(port.number) {
        let Some(host) = endpoint.hostname.as_deref().filter(|host| !host.is_empty()) else { continue };
        let own = NameInfo {
            shortname: format!("{host}.{}", service.name),
            ..info(service, vec![endpoint.address.clone()])
        };
        table.table.insert(format!("{host}.{}", service.key.hostname), own);
    }
}
