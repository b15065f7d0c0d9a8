//! TLS contexts: the mesh's own mutual TLS, and TLS that users configure.

use meltemi_proto::any;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3 as tls;
use meltemi_proto::envoy::r#type::matcher::v3::StringMatcher;
use meltemi_proto::google::protobuf as wkt;
use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use tls::tls_parameters::TlsProtocol;

use crate::wire;

/// ALPN of connections inside the mesh whose payload nobody looked at.
pub const ALPN_MESH: &str = "istio";
/// ALPN by which peers agree to tell each other who they are.
pub const ALPN_PEER_EXCHANGE: &str = "istio-peer-exchange";
/// ALPNs of HTTP inside the mesh.
pub const ALPN_MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// The bundle of roots on most systems.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The workload's own certificate, from the agent beside the proxy.
pub fn sds(name: &str) -> tls::SdsSecretConfig {
    let target = core::grpc_service::EnvoyGrpc { cluster_name: "sds-grpc".to_owned(), ..Default::default() };
    let service = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(target)),
        ..Default::default()
    };
    let api = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc as i32,
        transport_api_version: core::ApiVersion::V3 as i32,
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    let source = core::ConfigSource {
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(api)),
        initial_fetch_timeout: Some(wkt::Duration::default()),
        resource_api_version: core::ApiVersion::V3 as i32,
        ..Default::default()
    };
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

/// A gateway's certificate, from the control plane.
pub fn credential(name: String) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name, sds_config: Some(wire::ads()) }
}

/// TLS 1.2 and 1.3.
pub fn modern() -> tls::TlsParameters {
    tls::TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12 as i32,
        tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
        ..Default::default()
    }
}

/// URI names that a certificate may carry; one of them must match.
pub fn uri_names(matchers: impl IntoIterator<Item = StringMatcher>) -> Vec<tls::SubjectAltNameMatcher> {
    names(matchers, tls::subject_alt_name_matcher::SanType::Uri)
}

/// Names that users list without saying of which kind: each may stand in a certificate as a DNS name, as a URI, or as
/// an address if it is one.
pub fn any_names(written: &[String]) -> Vec<tls::SubjectAltNameMatcher> {
    use tls::subject_alt_name_matcher::SanType;
    let mut all = Vec::new();
    for name in written {
        let address = name.parse::<std::net::IpAddr>().is_ok().then_some(SanType::IpAddress);
        for kind in [SanType::Dns, SanType::Uri].into_iter().chain(address) {
            all.extend(names([wire::exact(name)], kind));
        }
    }
    all
}

fn names(
    matchers: impl IntoIterator<Item = StringMatcher>,
    kind: tls::subject_alt_name_matcher::SanType,
) -> Vec<tls::SubjectAltNameMatcher> {
    let matcher = |matcher| tls::SubjectAltNameMatcher {
        san_type: kind as i32,
        matcher: Some(matcher),
        ..Default::default()
    };
    matchers.into_iter().map(matcher).collect()
}

/// What is asked of a peer's names and of nothing else.
pub fn named(names: Vec<tls::SubjectAltNameMatcher>) -> tls::CertificateValidationContext {
    tls::CertificateValidationContext { match_typed_subject_alt_names: names, ..Default::default() }
}

/// The workload's certificate and the mesh's roots, both by SDS from the agent.
pub fn mesh_context(alpn: &[&str], context: tls::CertificateValidationContext) -> tls::CommonTlsContext {
    tls::CommonTlsContext {
        tls_params: Some(modern()),
        tls_certificate_sds_secret_configs: vec![sds("default")],
        alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
        validation_context_type: Some(combined(context, sds("ROOTCA"))),
        ..Default::default()
    }
}

/// What the configuration demands of a peer's certificate, with roots by SDS.
pub fn combined(
    context: tls::CertificateValidationContext,
    roots: tls::SdsSecretConfig,
) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(roots),
        ..Default::default()
    })
}

/// The content of a file of the proxy's container.
pub fn file(path: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}

/// Roots from a file; without a path those of the system.
pub fn trusted_file(path: &str) -> core::DataSource {
    file(if path.is_empty() || path == "system" { SYSTEM_ROOTS } else { path })
}

/// A certificate from files.
pub fn certificate_files(certificate: &str, key: &str) -> tls::TlsCertificate {
    tls::TlsCertificate {
        certificate_chain: Some(file(certificate)),
        private_key: Some(file(key)),
        ..Default::default()
    }
}

/// TLS towards an upstream.
pub fn upstream(context: &tls::UpstreamTlsContext) -> core::TransportSocket {
    socket("envoy.transport_sockets.tls", any::pack(context))
}

/// TLS towards a client.
pub fn downstream(context: &tls::DownstreamTlsContext) -> core::TransportSocket {
    socket("envoy.transport_sockets.tls", any::pack(context))
}

/// No TLS.
pub fn plain() -> core::TransportSocket {
    socket("envoy.transport_sockets.raw_buffer", any::pack(&RawBuffer::default()))
}

fn socket(name: &str, config: wkt::Any) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
    }
}
