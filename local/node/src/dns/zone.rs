//! What the cluster's names mean. Pure: a zone is built from services and endpoint slices and answers questions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::DOMAIN;
use crate::net::{pod_cidr, service_cidr};

/// A record's type that the zone knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 address.
    A,
    /// Port and host.
    Srv,
    /// Address to name.
    Ptr,
    /// Alias.
    Cname,
    /// Any other type: names exist, but have nothing of it.
    Other,
}

/// One record of an answer; names are absolute without the final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    A(Ipv4Addr),
    /// A port on a host.
    Srv {
        /// The port.
        port: u16,
        /// The host's name.
        target: String,
    },
    /// A name.
    Ptr(String),
    /// An alias outside; the asker wants to know what that resolves to.
    Cname(String),
}

/// What the zone says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Records; an empty list means that the name exists but has none of that type.
    Records(Vec<Data>),
    /// No such name.
    NoSuchName,
    /// Not ours.
    Outside,
}

/// The names of a cluster at one moment.
#[derive(Debug, Default)]
pub struct Zone {
    services: BTreeMap<(String, String), Entry>,
    namespaces: BTreeSet<String>,
    names_of: BTreeMap<Ipv4Addr, String>,
}

#[derive(Debug, Default)]
struct Entry {
    cluster_ip: Option<Ipv4Addr>,
    external: Option<String>,
    /// Name, protocol in lower case, port.
    ports: Vec<(String, String, u16)>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    address: Ipv4Addr,
    hostname: String,
    ports: Vec<(String, String, u16)>,
}

fn port(number: Option<i32>) -> u16 {
    number.and_then(|n| u16::try_from(n).ok()).unwrap_or(0)
}

fn lower(text: Option<&String>, default: &str) -> String {
    text.map_or(default, String::as_str).to_ascii_lowercase()
}

impl Zone {
    /// Builds the zone.
    pub fn build<'a>(
        services: impl IntoIterator<Item = &'a Service>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Self {
        let mut zone = Self::default();
        let mut publish_not_ready = BTreeSet::new();
        for service in services {
            let key = (
                service.metadata.namespace.clone().unwrap_or_default(),
                service.metadata.name.clone().unwrap_or_default(),
            );
            let Some(spec) = &service.spec else { continue };
            let external =
                spec.external_name.clone().filter(|_| spec.type_.as_deref() == Some("ExternalName"));
            let cluster_ip = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
            let ports = spec.ports.iter().flatten();
            let ports = ports
                .map(|p| (lower(p.name.as_ref(), ""), lower(p.protocol.as_ref(), "tcp"), port(Some(p.port))));
            if spec.publish_not_ready_addresses == Some(true) {
                publish_not_ready.insert(key.clone());
            }
            if let Some(ip) = cluster_ip {
                zone.names_of.insert(ip, format!("{}.{}.svc.{DOMAIN}", key.1, key.0));
            }
            zone.namespaces.insert(key.0.clone());
            zone.services
                .insert(key, Entry { cluster_ip, external, ports: ports.collect(), endpoints: Vec::new() });
        }
        for slice in slices {
            zone.add_endpoints(slice, &publish_not_ready);
        }
        zone
    }

    fn add_endpoints(&mut self, slice: &EndpointSlice, publish_not_ready: &BTreeSet<(String, String)>) {
        let name = slice.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"));
        let (Some(namespace), Some(name)) = (slice.metadata.namespace.clone(), name) else { return };
        let key = (namespace, name.clone());
        let Some(entry) = self.services.get_mut(&key) else { return };
        let ports: Vec<_> = slice
            .ports
            .iter()
            .flatten()
            .map(|p| (lower(p.name.as_ref(), ""), lower(p.protocol.as_ref(), "tcp"), port(p.port)))
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            if !ready && !publish_not_ready.contains(&key) {
                continue;
            }
            for address in endpoint.addresses.iter().filter_map(|a| a.parse::<Ipv4Addr>().ok()) {
                let hostname =
                    endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace('.', "-"));
                if entry.cluster_ip.is_none() {
                    self.names_of.insert(address, format!("{hostname}.{}.{}.svc.{DOMAIN}", key.1, key.0));
                }
                entry.endpoints.push(Endpoint { address, hostname, ports: ports.clone() });
            }
        }
    }

    /// Answers a question for a name without the final dot.
    pub fn answer(&self, name: &str, kind: Kind) -> Answer {
        let name = name.to_ascii_lowercase();
        if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
            return self.reverse(reversed, kind);
        }
        if name == DOMAIN {
            return Answer::Records(Vec::new());
        }
        let Some(inside) = name.strip_suffix(DOMAIN).and_then(|n| n.strip_suffix('.')) else {
            return Answer::Outside;
        };
        let mut labels: Vec<&str> = inside.split('.').collect();
        match labels.pop() {
            Some("svc") => self.service(&labels, kind),
            Some("pod") => pod(&labels, kind),
            _ => Answer::NoSuchName,
        }
    }

    fn service(&self, labels: &[&str], kind: Kind) -> Answer {
        let (namespace, rest) = match labels.split_last() {
            None => return Answer::Records(Vec::new()),
            Some((namespace, [])) if self.namespaces.contains(*namespace) => {
                return Answer::Records(Vec::new());
            }
            Some(split) => split,
        };
        let Some((name, rest)) = rest.split_last() else { return Answer::NoSuchName };
        let Some(entry) = self.services.get(&((*namespace).to_owned(), (*name).to_owned())) else {
            return Answer::NoSuchName;
        };
        let full = format!("{name}.{namespace}.svc.{DOMAIN}");
        match rest {
            [] => entry.own(&full, kind),
            [host] if !host.starts_with('_') => entry.host(host, kind),
            [port, protocol] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => entry.srv(&full, Some((port, protocol)), kind),
                _ => Answer::NoSuchName,
            },
            _ => Answer::NoSuchName,
        }
    }

    fn reverse(&self, reversed: &str, kind: Kind) -> Answer {
        let forward: Vec<&str> = reversed.rsplit('.').collect();
        let Ok(address) = forward.join(".").parse::<Ipv4Addr>() else { return Answer::Outside };
        if !pod_cidr().contains(&address) && !service_cidr().contains(&address) {
            return Answer::Outside;
        }
        match self.names_of.get(&address) {
            Some(name) if kind == Kind::Ptr => Answer::Records(vec![Data::Ptr(name.clone())]),
            Some(_) => Answer::Records(Vec::new()),
            None => Answer::NoSuchName,
        }
    }
}

impl Entry {
    fn own(&self, full: &str, kind: Kind) -> Answer {
        if let Some(target) = &self.external {
            return Answer::Records(vec![Data::Cname(target.trim_end_matches('.').to_owned())]);
        }
        Answer::Records(match kind {
            Kind::A => match self.cluster_ip {
                Some(address) => vec![Data::A(address)],
                None => {
                    let all: BTreeSet<Ipv4Addr> = self.endpoints.iter().map(|e| e.address).collect();
                    all.into_iter().map(Data::A).collect()
                }
            },
            Kind::Srv => return self.srv(full, None, kind),
            _ => Vec::new(),
        })
    }

    fn host(&self, host: &str, kind: Kind) -> Answer {
        let mut addresses: Vec<Data> =
            self.endpoints.iter().filter(|e| e.hostname == host).map(|e| Data::A(e.address)).collect();
        if addresses.is_empty() {
            return Answer::NoSuchName;
        }
        if kind != Kind::A {
            addresses.clear();
        }
        addresses.dedup();
        Answer::Records(addresses)
    }

    /// SRV records: of all ports, or of one by name and protocol.
    fn srv(&self, full: &str, wanted: Option<(&str, &str)>, kind: Kind) -> Answer {
        let fits = |name: &str, protocol: &str| wanted.is_none_or(|w| w == (name, protocol));
        let mut records = Vec::new();
        if self.cluster_ip.is_some() {
            for (name, protocol, port) in self.ports.iter().filter(|(n, _, _)| !n.is_empty()) {
                if fits(name, protocol) {
                    records.push(Data::Srv { port: *port, target: full.to_owned() });
                }
            }
        } else {
            for endpoint in &self.endpoints {
                for (name, protocol, port) in endpoint.ports.iter().filter(|(n, _, _)| !n.is_empty()) {
                    if fits(name, protocol) {
                        records
                            .push(Data::Srv { port: *port, target: format!("{}.{full}", endpoint.hostname) });
                    }
                }
            }
        }
        match (records.is_empty() && wanted.is_some(), kind) {
            (true, _) => Answer::NoSuchName,
            (false, Kind::Srv) => Answer::Records(records),
            (false, _) => Answer::Records(Vec::new()),
        }
    }
}

/// `a-b-c-d.namespace.pod`: the address is in the name.
fn pod(labels: &[&str], kind: Kind) -> Answer {
    let [dashed, _namespace] = labels else { return Answer::NoSuchName };
    match dashed.replace('-', ".").parse() {
        Ok(address) if kind == Kind::A => Answer::Records(vec![Data::A(address)]),
        Ok(_) => Answer::Records(Vec::new()),
        Err(_) => Answer::NoSuchName,
    }
}

#[cfg(test)]
mod tests;
