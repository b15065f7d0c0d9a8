//! Listeners of a gateway: one a port, one chain a server.

use meltemi_config::istio::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use meltemi_config::tls_choice;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::core::v3::{TrafficDirection, TransportSocket};
use meltemi_proto::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3 as tls_v3;
use tls_v3::common_tls_context::ValidationContextType;
use tls_v3::tls_parameters::TlsProtocol as Version;

use super::distinct::distinct;
use super::http::{Routes, Side, manager};
use super::{access_log, chain, inspectors, tcp};
use crate::gateway::{Handling, Served, served, virtual_services};
use crate::source::{self, Condition, Parts};
use crate::{destination, tls, wire};

/// All listeners of a gateway.
pub(super) fn listeners(snapshot: &Snapshot, view: &ProxyView) -> Vec<Listener> {
    served(view)
        .into_iter()
        .filter_map(|(place, servers)| listener(snapshot, view, place, &servers))
        .collect()
}

fn listener(
    snapshot: &Snapshot,
    view: &ProxyView,
    (port, bind): (u16, &str),
    servers: &[Served<'_>],
) -> Option<Listener> {
    let first = servers.first()?;
    let bind = if bind.is_empty() { super::wildcard(view) } else { bind };
    let mut listener = super::base(format!("{bind}_{port}"), bind, port, TrafficDirection::Outbound);
    if first.handling == Handling::Http {
        let filters = http(snapshot, view, first);
        listener.filter_chains.push(chain(&listener.name, filters));
    } else {
        listener.filter_chains = distinct(servers.iter().flat_map(|s| chains(snapshot, view, s)).collect());
    }
    if listener.filter_chains.is_empty() {
        return None;
    }
    if servers.iter().any(|s| s.handling != Handling::Http && s.handling != Handling::Tcp) {
        listener.listener_filters.push(inspectors::tls());
    }
    listener.access_log = access_log::unmatched(snapshot, view, false);
    Some(listener)
}

fn http(snapshot: &Snapshot, view: &ProxyView, served: &Served<'_>) -> Vec<Filter> {
    let prefix = format!("outbound_{}_{}", super::wildcard(view), served.port);
    vec![manager(snapshot, view, Side::Gateway, &prefix, Routes::Named(served.route_name()))]
}

fn chains(snapshot: &Snapshot, view: &ProxyView, served: &Served<'_>) -> Vec<FilterChain> {
    let settings = served.server.tls.as_ref();
    match served.handling {
        Handling::Http => Vec::new(),
        Handling::Https => vec![FilterChain {
            filter_chain_match: names(served.hosts()),
            transport_socket: settings.map(|s| socket(s, &["h2", "http/1.1"])),
            ..chain(&served.route_name(), http(snapshot, view, served))
        }],
        Handling::TlsTerminated => {
            let mut chains = tcp_routes(snapshot, view, served);
            for chain in &mut chains {
                chain.filter_chain_match = names(served.hosts());
                chain.transport_socket = settings.map(|s| socket(s, &[]));
            }
            chains.truncate(1);
            chains
        }
        Handling::TlsPassthrough => tls_routes(snapshot, view, served),
        Handling::Tcp => tcp_routes(snapshot, view, served),
    }
}

/// Chains of the `tls` rules for a server whose TLS goes through.
fn tls_routes(snapshot: &Snapshot, view: &ProxyView, served: &Served<'_>) -> Vec<FilterChain> {
    let gateway = served.gateway_name();
    let mut chains = Vec::new();
    for vs in virtual_services(snapshot, view, served) {
        let shared = served.shared_hosts(vs);
        for rule in &vs.object.spec.tls {
            for condition in &rule.matches {
                let hosts: Vec<&str> = condition
                    .sni_hosts
                    .iter()
                    .map(String::as_str)
                    .filter(|sni| shared.iter().any(|host| meltemi_mesh::host::overlaps(sni, host)))
                    .collect();
                let here =
                    source::holds_at(view, &condition.parts(), served.number, &gateway, vs.namespace());
                if hosts.is_empty() || !here {
                    continue;
                }
                let from = destination::From { namespace: vs.namespace(), port: served.number };
                let filters = tcp::routed(snapshot, view, Side::Gateway, &rule.route, from);
                let mut matches = names(hosts.into_iter()).unwrap_or_default();
                matches.prefix_ranges = condition
                    .destination_subnets
                    .iter()
                    .filter_map(|s| wire::parse_cidr(s))
                    .map(wire::cidr)
                    .collect();
                chains.push(FilterChain {
                    filter_chain_match: Some(matches),
                    ..chain(&vs.object.meta.name, filters)
                });
            }
        }
    }
    chains
}

/// The chain of the first `tcp` rule that holds at the port.
fn tcp_routes(snapshot: &Snapshot, view: &ProxyView, served: &Served<'_>) -> Vec<FilterChain> {
    let gateway = served.gateway_name();
    for vs in virtual_services(snapshot, view, served) {
        if served.shared_hosts(vs).is_empty() {
            continue;
        }
        let holds =
            |parts: Parts<'_>| source::holds_at(view, &parts, served.number, &gateway, vs.namespace());
        let rule = vs.object.spec.tcp.iter().find(|rule| {
            rule.matches.is_empty()
                || rule.matches.iter().any(|m| m.destination_subnets.is_empty() && holds(m.parts()))
        });
        if let Some(rule) = rule {
            let from = destination::From { namespace: vs.namespace(), port: served.number };
            let filters = tcp::routed(snapshot, view, Side::Gateway, &rule.route, from);
            return vec![chain(&vs.object.meta.name, filters)];
        }
    }
    Vec::new()
}

/// A condition on the server's name; none when any name will do.
fn names<'a>(hosts: impl Iterator<Item = &'a str>) -> Option<FilterChainMatch> {
    let server_names: Vec<String> = hosts.map(str::to_owned).collect();
    if server_names.iter().any(|name| name == "*") {
        return None;
    }
    Some(FilterChainMatch { server_names, ..Default::default() })
}

fn socket(settings: &ServerTlsSettings, alpn: &[&str]) -> TransportSocket {
    let mutual = matches!(settings.mode(), ServerTlsMode::Mutual | ServerTlsMode::IstioMutual);
    let context = if settings.mode() == ServerTlsMode::IstioMutual {
        tls::mesh_context(alpn, demands(settings))
    } else {
        user_context(settings, alpn)
    };
    tls::downstream(&tls_v3::DownstreamTlsContext {
        common_tls_context: Some(context),
        require_client_certificate: wire::bool(mutual),
        ..Default::default()
    })
}

fn user_context(settings: &ServerTlsSettings, alpn: &[&str]) -> tls_v3::CommonTlsContext {
    let mut common = tls_v3::CommonTlsContext {
        tls_params: Some(parameters(settings)),
        alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let named = std::iter::once(&settings.credential_name).chain(&settings.credential_names);
    let named: Vec<&String> = named.filter(|name| !name.is_empty()).collect();
    if named.is_empty() {
        common.tls_certificates = certificate_files(settings);
    } else {
        let secret = |name: &&String| tls::credential(format!("kubernetes://{name}"));
        common.tls_certificate_sds_secret_configs = named.iter().map(secret).collect();
    }
    if !matches!(settings.mode(), ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
        return common;
    }
    let context = demands(settings);
    let ca = &settings.ca_cert_credential_name;
    let roots = match named.first() {
        _ if !ca.is_empty() => Some(format!("kubernetes://{ca}-cacert")),
        Some(name) => Some(format!("kubernetes://{name}-cacert")),
        None => None,
    };
    common.validation_context_type = Some(match roots {
        Some(name) => tls::combined(context, tls::credential(name)),
        None => ValidationContextType::ValidationContext(tls_v3::CertificateValidationContext {
            trusted_ca: Some(tls::trusted_file(&settings.ca_certificates)),
            ..context
        }),
    });
    common
}

/// What a client's certificate is held against, but for the roots. A list of revoked certificates that comes with
/// the roots goes before the file.
fn demands(settings: &ServerTlsSettings) -> tls_v3::CertificateValidationContext {
    tls_v3::CertificateValidationContext {
        match_typed_subject_alt_names: tls::any_names(&settings.subject_alt_names),
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        crl: (!settings.ca_crl.is_empty()).then(|| tls::file(&settings.ca_crl)),
        ..Default::default()
    }
}

fn certificate_files(settings: &ServerTlsSettings) -> Vec<tls_v3::TlsCertificate> {
    if !settings.tls_certificates.is_empty() {
        let files = settings.tls_certificates.iter();
        return files.map(|c| tls::certificate_files(&c.server_certificate, &c.private_key)).collect();
    }
    if settings.server_certificate.is_empty() {
        return Vec::new();
    }
    vec![tls::certificate_files(&settings.server_certificate, &settings.private_key)]
}

fn parameters(settings: &ServerTlsSettings) -> tls_v3::TlsParameters {
    let version = |asked: TlsProtocol, default: Version| match asked {
        TlsProtocol::TlsAuto => default,
        TlsProtocol::Tlsv1_0 => Version::TlSv10,
        TlsProtocol::Tlsv1_1 => Version::TlSv11,
        TlsProtocol::Tlsv1_2 => Version::TlSv12,
        TlsProtocol::Tlsv1_3 => Version::TlSv13,
    };
    // Our engine speaks 1.2 at least; a server that may not would take the others of its port with it.
    let highest = match settings.max_protocol_version {
        TlsProtocol::Tlsv1_0 | TlsProtocol::Tlsv1_1 => TlsProtocol::TlsAuto,
        other => other,
    };
    tls_v3::TlsParameters {
        tls_minimum_protocol_version: version(settings.min_protocol_version, Version::TlSv12) as i32,
        tls_maximum_protocol_version: version(highest, Version::TlSv13) as i32,
        cipher_suites: tls_choice::usable(&settings.cipher_suites, &tls_choice::CIPHER_SUITES),
        ecdh_curves: tls_choice::usable(&settings.ecdh_curves, &tls_choice::CURVES),
        ..Default::default()
    }
}
