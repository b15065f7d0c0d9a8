//! Servers of Gateways as one proxy serves them: on which port, in which way, under which route name.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_config::Object;
use meltemi_config::istio::Gateway;
use meltemi_config::istio::gateway::{Server, ServerTlsMode};
use meltemi_mesh::{Protocol, ProxyView, Snapshot, VirtualService, host};

/// How a server treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Plain HTTP.
    Http,
    /// TLS ends here, HTTP inside.
    Https,
    /// TLS ends here, bytes inside.
    TlsTerminated,
    /// TLS goes through; only the server's name is read.
    TlsPassthrough,
    /// Bytes.
    Tcp,
}

/// One server of a Gateway on one port of the proxy.
#[derive(Debug, Clone)]
pub struct Served<'a> {
    /// The Gateway.
    pub gateway: &'a Object<Gateway>,
    /// The server.
    pub server: &'a Server,
    /// How it treats connections.
    pub handling: Handling,
    /// The port that the Gateway names.
    pub number: u16,
    /// The port that the proxy listens on.
    pub port: u16,
}

impl Served<'_> {
    /// `namespace/name` of the Gateway.
    pub fn gateway_name(&self) -> String {
        format!("{}/{}", self.gateway.meta.namespace, self.gateway.meta.name)
    }

    /// The name of the route configuration.
    pub fn route_name(&self) -> String {
        match self.handling {
            Handling::Https => {
                let port_name = self.server.port.as_ref().map(|p| p.name.as_str()).unwrap_or_default();
                let meta = &self.gateway.meta;
                format!("https.{}.{port_name}.{}.{}", self.number, meta.name, meta.namespace)
            }
            _ if self.server.bind.is_empty() => format!("http.{}", self.port),
            _ => format!("http.{}.{}", self.port, self.server.bind),
        }
    }

    /// Hosts without the namespace that limits whose routes may use them.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.server.hosts.iter().map(|host| host.split_once('/').map_or(host.as_str(), |(_, host)| host))
    }

    /// Of the hosts of a VirtualService those that it may serve here, each narrowed to what both name.
    pub fn shared_hosts(&self, vs: &VirtualService) -> BTreeSet<String> {
        let mut shared = BTreeSet::new();
        for written in &self.server.hosts {
            let (namespace, pattern) = written.split_once('/').unwrap_or(("*", written));
            let allowed = match namespace {
                "*" => true,
                "." => vs.namespace() == self.gateway.meta.namespace,
                name => vs.namespace() == name,
            };
            if !allowed {
                continue;
            }
            for hostname in &vs.hosts {
                if host::covered_by(hostname, pattern) {
                    shared.insert(hostname.clone());
                } else if host::covered_by(pattern, hostname) {
                    shared.insert(pattern.to_owned());
                }
            }
        }
        shared
    }
}

/// Everything that a gateway proxy serves, by the port it listens on and the address; an empty address is every one.
pub fn served<'a>(view: &'a ProxyView) -> BTreeMap<(u16, &'a str), Vec<Served<'a>>> {
    let mut by_port: BTreeMap<(u16, &'a str), Vec<Served<'a>>> = BTreeMap::new();
    for gateway in &view.gateways {
        for server in &gateway.spec.servers {
            let Some(number) = server.port.as_ref().and_then(|p| u16::try_from(p.number).ok()) else {
                continue;
            };
            let Some(handling) = handling(server) else { continue };
            for port in listened(view, number) {
                by_port.entry((port, &server.bind)).or_default().push(Served {
                    gateway,
                    server,
                    handling,
                    number,
                    port,
                });
            }
        }
    }
    // A port speaks either plain HTTP or something else; the oldest Gateway decides.
    for servers in by_port.values_mut() {
        let plain = servers.first().is_some_and(|s| s.handling == Handling::Http);
        servers.retain(|s| (s.handling == Handling::Http) == plain);
    }
    by_port
}

/// The ports of the proxy behind a port of its Service; without a Service the port itself.
fn listened(view: &ProxyView, number: u16) -> BTreeSet<u16> {
    let mapped = view.targets.iter().filter(|t| t.port.number == number).map(|t| t.workload_port);
    let mapped: BTreeSet<u16> = mapped.collect();
    if mapped.is_empty() { BTreeSet::from([number]) } else { mapped }
}

fn handling(server: &Server) -> Option<Handling> {
    let protocol = server.port.as_ref().map(|p| p.protocol.as_str()).unwrap_or_default();
    let mode = server.tls.as_ref().map(|tls| tls.mode());
    Some(match (Protocol::parse(protocol)?, mode) {
        (Protocol::Udp, _) => return None,
        (protocol, _) if protocol.is_http() => Handling::Http,
        // Handing on by the name of a service inside the mesh belongs to multi-cluster set-ups.
        (_, Some(ServerTlsMode::AutoPassthrough)) => return None,
        (Protocol::Https | Protocol::Tls, Some(ServerTlsMode::Passthrough) | None) => {
            Handling::TlsPassthrough
        }
        (Protocol::Https, Some(_)) => Handling::Https,
        (_, Some(mode)) if mode != ServerTlsMode::Passthrough => Handling::TlsTerminated,
        _ => Handling::Tcp,
    })
}

/// VirtualServices that routes of this server come from, the oldest first.
pub fn virtual_services<'a>(
    snapshot: &'a Snapshot,
    view: &'a ProxyView,
    served: &Served<'_>,
) -> Vec<&'a VirtualService> {
    let gateway = served.gateway_name();
    let all = snapshot.virtual_services_for(&gateway, &view.identity.namespace);
    all.map(std::convert::AsRef::as_ref).filter(|vs: &&VirtualService| !vs.is_delegate()).collect()
}
