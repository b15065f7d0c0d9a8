//! What the workload's own connections arrive at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meltemi_config::istio::virtual_service::RouteDestination;
use meltemi_mesh::service::{Origin, Service};
use meltemi_mesh::{Port, Protocol, ProxyView, Resolution, Snapshot, VirtualService};
use meltemi_proto::envoy::config::core::v3::{CidrRange, TrafficDirection};
use meltemi_proto::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener};
use meltemi_proto::ports;

use super::distinct::distinct;
use super::http::{Routes, Side, manager};
use super::{PLAIN_HTTP, access_log, chain, inspectors, looks_like, tcp};
use crate::source;
use crate::{destination, names, wire};

/// All outbound listeners.
pub(super) fn listeners(snapshot: &Snapshot, view: &ProxyView) -> Vec<Listener> {
    let routes = view.mesh_virtual_services(snapshot).map(std::convert::AsRef::as_ref);
    let routes =
        routes.filter(|vs: &&VirtualService| vs.object.spec.tcp.len() + vs.object.spec.tls.len() > 0);
    let mut drafts = Drafts { snapshot, view, routes: routes.collect(), by_address: BTreeMap::new() };
    for service in view.services.iter() {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            drafts.add(service, port);
        }
    }
    let mut listeners = vec![virtual_outbound(snapshot, view)];
    listeners.extend(drafts.finish());
    listeners
}

/// Where captured connections arrive; those that a more specific listener wants are handed over to it.
fn virtual_outbound(snapshot: &Snapshot, view: &ProxyView) -> Listener {
    let ip = super::wildcard(view);
    let port = super::own_port(snapshot.settings.mesh.proxy_listen_port, ports::OUTBOUND);
    let mut listener = super::base(names::VIRTUAL_OUTBOUND.to_owned(), ip, port, TrafficDirection::Outbound);
    let own_port = FilterChain {
        filter_chain_match: Some(FilterChainMatch {
            destination_port: wire::u32(port.into()),
            ..Default::default()
        }),
        ..chain("virtualOutbound-blackhole", tcp::filters(snapshot, view, Side::Outbound, names::BLACK_HOLE))
    };
    listener.filter_chains = vec![own_port, chain("virtualOutbound-catchall-tcp", unknown(snapshot, view))];
    listener.use_original_dst = wire::bool(true);
    listener.access_log = access_log::unmatched(snapshot, view, false);
    listener
}

/// Where traffic to unknown addresses goes.
fn unknown(snapshot: &Snapshot, view: &ProxyView) -> Vec<Filter> {
    let cluster = if view.allow_any { names::PASSTHROUGH } else { names::BLACK_HOLE };
    tcp::filters(snapshot, view, Side::Outbound, cluster)
}

/// A listener while services are still being added to it.
#[derive(Default)]
struct Draft {
    /// Name of the route configuration, when HTTP is expected.
    http: Option<String>,
    /// Chains with a condition, in order.
    conditional: Vec<FilterChain>,
    /// Names for TLS are read.
    reads_names: bool,
    /// Everything else; the first service that wants it gets it.
    rest: Option<Vec<Filter>>,
}

struct Drafts<'a> {
    snapshot: &'a Snapshot,
    view: &'a ProxyView,
    /// VirtualServices that route bytes, the oldest first.
    routes: Vec<&'a VirtualService>,
    by_address: BTreeMap<(String, u16), Draft>,
}

impl Drafts<'_> {
    fn add(&mut self, service: &Service, port: &Port) {
        if port.protocol.is_http() {
            let draft = self.draft(super::wildcard(self.view), port.number);
            draft.http.get_or_insert_with(|| port.number.to_string());
            return;
        }
        let pods_are_dialled =
            service.resolution == Resolution::Passthrough && self.view.addresses(service).is_empty();
        if pods_are_dialled && (service.origin == Origin::Kubernetes || self.has_endpoints(service, port)) {
            for address in self.dialled(service, port) {
                self.add_bound(service, port, &address, &[]);
            }
            return;
        }
        let (ips, blocks) = addresses(self.view.addresses(service));
        for ip in &ips {
            self.add_bound(service, port, ip, &[]);
        }
        if ips.is_empty() || !blocks.is_empty() {
            self.add_bound(service, port, super::wildcard(self.view), &blocks);
        }
    }

    fn has_endpoints(&self, service: &Service, port: &Port) -> bool {
        self.snapshot.endpoints_of(&service.key).is_some_and(|e| !e.of_port(port.number).is_empty())
    }

    /// Addresses of a headless service's pods, without the proxy's own.
    fn dialled(&self, service: &Service, port: &Port) -> Vec<String> {
        let endpoints = self.snapshot.endpoints_of(&service.key);
        let endpoints = endpoints.map(|e| e.of_port(port.number)).unwrap_or_default();
        let ips = endpoints.iter().filter_map(|e| e.address.parse::<IpAddr>().ok());
        ips.filter(|ip| !self.view.identity.ips.contains(ip)).map(|ip| ip.to_string()).collect()
    }

    /// Adds a port of a service that is not declared to be HTTP.
    fn add_bound(&mut self, service: &Service, port: &Port, bind: &str, blocks: &[CidrRange]) {
        let wildcard = bind == super::wildcard(self.view);
        let conditional = self.conditional(service, port, blocks);
        let cluster = names::outbound(port.number, "", &service.key.hostname);
        let to_service = || tcp::filters(self.snapshot, self.view, Side::Outbound, &cluster);
        let routed = || self.unconditional(service, port).unwrap_or_else(to_service);
        // On the wildcard address only the server's name or the address dialled tells services apart.
        let by_name = wildcard && port.protocol.is_tls();
        let own = match (by_name, blocks.is_empty()) {
            (false, true) => None,
            _ => Some(FilterChain {
                filter_chain_match: Some(FilterChainMatch {
                    server_names: if by_name { server_names(&service.key.hostname) } else { Vec::new() },
                    prefix_ranges: blocks.to_vec(),
                    ..Default::default()
                }),
                ..chain(&cluster, if by_name { to_service() } else { routed() })
            }),
        };
        let rest = own.is_none().then(routed);
        let sniffed = port.protocol == Protocol::Auto;
        let route = match wildcard {
            true => port.number.to_string(),
            false => format!("{}:{}", service.key.hostname, port.number),
        };
        let draft = self.draft(bind, port.number);
        draft.reads_names |= by_name || conditional.iter().any(has_names);
        draft.conditional.extend(conditional);
        draft.conditional.extend(own);
        if sniffed {
            draft.http.get_or_insert(route);
        }
        if draft.rest.is_none() {
            draft.rest = rest;
        }
    }

    fn draft(&mut self, bind: &str, port: u16) -> &mut Draft {
        self.by_address.entry((bind.to_owned(), port)).or_default()
    }

    /// VirtualServices that route this service's bytes.
    fn routes(&self, service: &Service) -> impl Iterator<Item = &VirtualService> {
        let hostname = service.key.hostname.clone();
        let covers =
            move |vs: &&VirtualService| vs.hosts.iter().any(|h| meltemi_mesh::host::covered_by(&hostname, h));
        self.routes.iter().copied().filter(covers)
    }

    /// Chains for `tls` and `tcp` rules that have a condition on the connection.
    fn conditional(&self, service: &Service, port: &Port, blocks: &[CidrRange]) -> Vec<FilterChain> {
        let mut chains = Vec::new();
        for vs in self.routes(service) {
            if port.protocol.is_tls() {
                for rule in &vs.object.spec.tls {
                    for condition in rule.matches.iter().filter(|m| source::holds(self.view, *m, port.number))
                    {
                        let mut matches = subnets(&condition.destination_subnets, blocks);
                        matches.server_names =
                            condition.sni_hosts.iter().flat_map(|h| server_names(h)).collect();
                        chains.push(self.routed(vs, port, matches, &rule.route));
                    }
                }
            }
            for rule in &vs.object.spec.tcp {
                for condition in rule.matches.iter().filter(|m| source::holds(self.view, *m, port.number)) {
                    if !condition.destination_subnets.is_empty() {
                        let matches = subnets(&condition.destination_subnets, blocks);
                        chains.push(self.routed(vs, port, matches, &rule.route));
                    }
                }
            }
        }
        chains
    }

    fn routed(
        &self,
        vs: &VirtualService,
        port: &Port,
        matches: FilterChainMatch,
        route: &[RouteDestination],
    ) -> FilterChain {
        let from = destination::From { namespace: vs.namespace(), port: port.number };
        let filters = tcp::routed(self.snapshot, self.view, Side::Outbound, route, from);
        FilterChain { filter_chain_match: Some(matches), ..chain(&vs.object.meta.name, filters) }
    }

    /// The first `tcp` rule that holds for every connection.
    fn unconditional(&self, service: &Service, port: &Port) -> Option<Vec<Filter>> {
        for vs in self.routes(service) {
            for rule in &vs.object.spec.tcp {
                let always = |m: &meltemi_config::istio::virtual_service::L4MatchAttributes| {
                    m.destination_subnets.is_empty() && source::holds(self.view, m, port.number)
                };
                if rule.matches.is_empty() || rule.matches.iter().any(always) {
                    let from = destination::From { namespace: vs.namespace(), port: port.number };
                    return Some(tcp::routed(self.snapshot, self.view, Side::Outbound, &rule.route, from));
                }
            }
        }
        None
    }

    fn finish(self) -> Vec<Listener> {
        let Drafts { snapshot, view, by_address, .. } = self;
        by_address.into_iter().map(|((ip, port), draft)| finish(snapshot, view, (&ip, port), draft)).collect()
    }
}

fn finish(snapshot: &Snapshot, view: &ProxyView, (ip, port): (&str, u16), draft: Draft) -> Listener {
    let name = format!("{ip}_{port}");
    let mut listener = super::base(name.clone(), ip, port, TrafficDirection::Outbound);
    listener.bind_to_port = wire::bool(false);
    listener.filter_chains = distinct(draft.conditional);
    let reads_http = draft.http.is_some();
    if let Some(route) = draft.http {
        let prefix = format!("outbound_{name}");
        listener.filter_chains.push(FilterChain {
            filter_chain_match: Some(looks_like("raw_buffer", &PLAIN_HTTP)),
            ..chain(&name, vec![manager(snapshot, view, Side::Outbound, &prefix, Routes::Named(route))])
        });
    }
    match draft.rest {
        Some(filters) if listener.filter_chains.is_empty() => {
            listener.filter_chains = vec![chain(&name, filters)]
        }
        Some(filters) => listener.default_filter_chain = Some(chain(&name, filters)),
        None => {
            listener.default_filter_chain = Some(chain("PassthroughFilterChain", unknown(snapshot, view)))
        }
    }
    if reads_http || draft.reads_names {
        listener.listener_filters.push(inspectors::tls());
    }
    if reads_http {
        listener.listener_filters.push(inspectors::http());
    }
    if reads_http || draft.reads_names {
        let timeout = snapshot.settings.mesh.protocol_detection_timeout.unwrap_or_default();
        inspectors::patient(&mut listener, timeout.to_std());
    }
    listener.access_log = access_log::unmatched(snapshot, view, false);
    listener
}

fn has_names(chain: &FilterChain) -> bool {
    chain.filter_chain_match.as_ref().is_some_and(|m| !m.server_names.is_empty())
}

/// Single addresses, and blocks of addresses.
fn addresses(written: &[String]) -> (Vec<String>, Vec<CidrRange>) {
    let (mut ips, mut blocks) = (Vec::new(), Vec::new());
    for address in written {
        match wire::parse_cidr(address) {
            Some(net) if net.prefix_len() == net.max_prefix_len() => ips.push(net.addr().to_string()),
            Some(net) => blocks.push(wire::cidr(net)),
            None => {}
        }
    }
    (ips, blocks)
}

fn subnets(written: &[String], blocks: &[CidrRange]) -> FilterChainMatch {
    let own: Vec<CidrRange> = written.iter().filter_map(|s| wire::parse_cidr(s)).map(wire::cidr).collect();
    let prefix_ranges = if own.is_empty() { blocks.to_vec() } else { own };
    FilterChainMatch { prefix_ranges, ..Default::default() }
}

/// A name for a chain's match; `*` means any name, which is no condition.
fn server_names(host: &str) -> Vec<String> {
    if host == "*" { Vec::new() } else { vec![host.to_owned()] }
}
