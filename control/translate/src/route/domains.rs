//! The names under which a service is called.

use meltemi_mesh::service::{Origin, Service};
use meltemi_mesh::{ProxyView, Resolution, Snapshot, host};

/// Every value of the `Host` header that means the service to this proxy, with and without the port.
pub fn of_service(snapshot: &Snapshot, view: &ProxyView, service: &Service, port: u16) -> Vec<String> {
    let mut names = of_host(snapshot, view, &service.key.hostname);
    if service.origin == Origin::Kubernetes && service.resolution == Resolution::Passthrough {
        // Pods of a headless service have names below the service's.
        let below: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(below);
    }
    for alias in view.aliases.get(&service.key.hostname).into_iter().flatten() {
        names.extend(of_host(snapshot, view, &alias.key.hostname));
    }
    names.extend(view.addresses(service).iter().filter(|a| !a.contains('/')).map(|a| authority(a)));
    with_port(names, port)
}

/// A host of a VirtualService that no service has.
pub fn of_name(snapshot: &Snapshot, view: &ProxyView, hostname: &str, port: u16) -> Vec<String> {
    with_port(of_host(snapshot, view, hostname), port)
}

/// A complete name and, for Kubernetes services, the shorter ones that DNS search paths allow.
fn of_host(snapshot: &Snapshot, view: &ProxyView, hostname: &str) -> Vec<String> {
    let mut names = vec![hostname.to_owned()];
    let domain = &snapshot.settings.domain;
    let Some(short) = hostname.strip_suffix(&format!(".svc.{domain}")) else { return names };
    if host::is_wildcard(hostname) {
        return names;
    }
    if let Some((name, namespace)) = short.rsplit_once('.') {
        if namespace == view.identity.namespace {
            names.push(name.to_owned());
        }
        names.push(format!("{short}.svc"));
        names.push(short.to_owned());
    }
    names
}

fn with_port(names: Vec<String>, port: u16) -> Vec<String> {
    let mut all = Vec::with_capacity(names.len() * 2);
    for name in names {
        // `*:80` would be no pattern; `*` covers it.
        if name != "*" {
            all.push(format!("{name}:{port}"));
        }
        all.push(name);
    }
    all.sort();
    all.dedup();
    all
}

/// An address as it stands in a `Host` header.
fn authority(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
