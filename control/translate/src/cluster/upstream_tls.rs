//! TLS of outbound clusters: the mesh's own, decided by endpoint, or what a DestinationRule asks for.

use std::collections::BTreeSet;

use meltemi_config::istio::destination_rule::{ClientTlsMode, ClientTlsSettings};
use meltemi_mesh::peer_authentication::{MtlsMode, namespace_mode};
use meltemi_mesh::{Protocol, Snapshot};
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::cluster::v3::cluster::{LbPolicy, TransportSocketMatch};
use meltemi_proto::envoy::config::core::v3::DataSource;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3 as tls_v3;
use meltemi_proto::google::protobuf::Struct;
use tls_v3::common_tls_context::ValidationContextType;

use super::outbound::ClusterSpec;
use super::protocol;
use crate::capabilities::Capabilities;
use crate::{names, tls, wire};

/// Sets the transport sockets of an outbound cluster.
pub fn apply(cluster: &mut Cluster, snapshot: &Snapshot, spec: &ClusterSpec<'_>, capabilities: Capabilities) {
    match spec.policy.tls.as_ref() {
        Some(settings) => match settings.mode {
            ClientTlsMode::Disable => {}
            ClientTlsMode::IstioMutual => {
                let socket = mesh_socket(snapshot, spec, capabilities, Some(settings));
                cluster.transport_socket = Some(socket);
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                cluster.transport_socket = Some(user_socket(snapshot, spec, settings));
            }
        },
        None if auto_mtls(snapshot, spec, cluster) => {
            let socket = mesh_socket(snapshot, spec, capabilities, None);
            if goes_where_dialled(cluster) {
                // There is no endpoint that could say what it speaks; all of them were asked beforehand.
                cluster.transport_socket = Some(socket);
            } else {
                cluster.transport_socket_matches = by_endpoint(socket);
            }
        }
        None => {}
    }
}

/// Does the proxy use the mesh's TLS wherever an endpoint speaks it?
fn auto_mtls(snapshot: &Snapshot, spec: &ClusterSpec<'_>, cluster: &Cluster) -> bool {
    if !snapshot.settings.mesh.enable_auto_mtls || spec.service.external {
        return false;
    }
    if goes_where_dialled(cluster) && !all_speak_mesh_tls(snapshot, spec) {
        return false;
    }
    namespace_mode(snapshot, &spec.service.key.namespace) != Some(MtlsMode::Disable)
}

fn all_speak_mesh_tls(snapshot: &Snapshot, spec: &ClusterSpec<'_>) -> bool {
    let endpoints = snapshot.endpoints_of(&spec.service.key);
    let endpoints = endpoints.map(|e| e.of_port(spec.port.number)).unwrap_or_default();
    !endpoints.is_empty() && endpoints.iter().all(|e| e.mesh_tls)
}

fn by_endpoint(mesh: meltemi_proto::envoy::config::core::v3::TransportSocket) -> Vec<TransportSocketMatch> {
    vec![
        TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(wire::fields([("tlsMode", wire::string("istio"))])),
            transport_socket: Some(mesh),
        },
        TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(Struct::default()),
            transport_socket: Some(tls::plain()),
        },
    ]
}

fn mesh_socket(
    snapshot: &Snapshot,
    spec: &ClusterSpec<'_>,
    capabilities: Capabilities,
    settings: Option<&ClientTlsSettings>,
) -> meltemi_proto::envoy::config::core::v3::TransportSocket {
    let asked = settings.map(|s| &s.subject_alt_names).filter(|names| !names.is_empty());
    let names = match asked {
        Some(names) => tls::any_names(names),
        None => tls::uri_names(identities(snapshot, spec).iter().map(|name| wire::exact(name))),
    };
    let sni = settings.map(|s| s.sni.clone()).filter(|sni| !sni.is_empty());
    let sni =
        sni.unwrap_or_else(|| names::sni(spec.port.number, spec.subset_name(), &spec.service.key.hostname));
    let offered = alpn(protocol::is_http2(snapshot, &spec.upstream()), spec.port.protocol, capabilities);
    let context =
        tls_v3::CertificateValidationContext { crl: settings.and_then(revoked), ..tls::named(names) };
    tls::upstream(&tls_v3::UpstreamTlsContext {
        common_tls_context: Some(tls::mesh_context(&offered, context)),
        sni,
        ..Default::default()
    })
}

/// Identities of the workloads behind the service, in every name that the mesh has.
pub fn identities(snapshot: &Snapshot, spec: &ClusterSpec<'_>) -> BTreeSet<String> {
    let settings = &snapshot.settings;
    let mut all: BTreeSet<String> = spec.service.subject_alt_names.iter().cloned().collect();
    let endpoints = snapshot.endpoints_of(&spec.service.key);
    for (namespace, account) in endpoints.iter().flat_map(|e| e.identities.iter()) {
        all.insert(settings.identity(namespace, account));
        for alias in &settings.mesh.trust_domain_aliases {
            all.insert(format!("spiffe://{alias}/ns/{namespace}/sa/{account}"));
        }
    }
    all
}

/// What is offered: with Istio's filter the filter chooses by the request; without it the cluster's protocol decides.
fn alpn(http2: bool, protocol: Protocol, capabilities: Capabilities) -> Vec<&'static str> {
    let mut offered = Vec::new();
    if capabilities.tcp_metadata {
        offered.push(tls::ALPN_PEER_EXCHANGE);
    }
    if http2 {
        offered.extend(if capabilities.alpn { &["istio", "h2"][..] } else { &["istio-h2", "istio", "h2"] });
    } else if protocol.is_http() && !capabilities.alpn {
        offered.extend(["istio-http/1.1", "istio", "http/1.1"]);
    } else {
        offered.push(tls::ALPN_MESH);
    }
    offered
}

fn user_socket(
    snapshot: &Snapshot,
    spec: &ClusterSpec<'_>,
    settings: &ClientTlsSettings,
) -> meltemi_proto::envoy::config::core::v3::TransportSocket {
    let mut common = tls_v3::CommonTlsContext { ..Default::default() };
    if protocol::is_http2(snapshot, &spec.upstream()) {
        common.alpn_protocols = vec!["h2".to_owned()];
    }
    let by_name =
        (!settings.credential_name.is_empty()).then(|| format!("kubernetes://{}", settings.credential_name));
    if settings.mode == ClientTlsMode::Mutual {
        match &by_name {
            Some(name) => common.tls_certificate_sds_secret_configs = vec![tls::credential(name.clone())],
            None => {
                let own = tls::certificate_files(&settings.client_certificate, &settings.private_key);
                common.tls_certificates = vec![own];
            }
        }
    }
    // Without roots nothing can be held against a certificate, its names neither.
    if settings.insecure_skip_verify != Some(true) {
        common.validation_context_type = Some(validation(settings, by_name));
    }
    tls::upstream(&tls_v3::UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: settings.sni.clone(),
        ..Default::default()
    })
}

/// What the server's certificate is held against.
fn validation(settings: &ClientTlsSettings, by_name: Option<String>) -> ValidationContextType {
    let mut context = tls_v3::CertificateValidationContext {
        crl: revoked(settings),
        ..tls::named(tls::any_names(&settings.subject_alt_names))
    };
    match by_name {
        Some(name) => tls::combined(context, tls::credential(format!("{name}-cacert"))),
        None => {
            context.trusted_ca = Some(tls::trusted_file(&settings.ca_certificates));
            ValidationContextType::ValidationContext(context)
        }
    }
}

/// The file with the certificates that were taken back. A list that comes with the roots goes before it.
fn revoked(settings: &ClientTlsSettings) -> Option<DataSource> {
    (!settings.ca_crl.is_empty()).then(|| tls::file(&settings.ca_crl))
}

/// The endpoint is the address that the client dialled.
fn goes_where_dialled(cluster: &Cluster) -> bool {
    cluster.lb_policy == LbPolicy::ClusterProvided as i32
}
