//! The mesh's TLS for gRPC: keys and roots come from the certificate provider `default` of the program's bootstrap.
#![allow(
    deprecated,
    reason = "gRPC reads the names to be matched, and older releases the providers, from fields that Envoy has replaced"
)]

use meltemi_mesh::Snapshot;
use meltemi_proto::envoy::config::core::v3::TransportSocket;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3 as tls_v3;
use tls_v3::common_tls_context::{
    CertificateProviderInstance, CombinedCertificateValidationContext, ValidationContextType,
};

use crate::cluster::{ClusterSpec, identities};
use crate::{tls, wire};

/// Name of the provider in the bootstrap.
const PROVIDER: &str = "default";

/// Towards a service: its workloads' identities are checked.
pub fn client(snapshot: &Snapshot, spec: &ClusterSpec<'_>) -> TransportSocket {
    let asked = spec.policy.tls.as_ref().map(|tls| tls.subject_alt_names.clone());
    let names = asked.filter(|names| !names.is_empty());
    let names = names.unwrap_or_else(|| identities(snapshot, spec).into_iter().collect());
    let context = tls_v3::CertificateValidationContext {
        match_subject_alt_names: names.iter().map(|name| wire::exact(name)).collect(),
        ..Default::default()
    };
    tls::upstream(&tls_v3::UpstreamTlsContext {
        common_tls_context: Some(common(context)),
        ..Default::default()
    })
}

/// For clients: they must show a certificate of the mesh.
pub fn server() -> TransportSocket {
    tls::downstream(&tls_v3::DownstreamTlsContext {
        common_tls_context: Some(common(tls_v3::CertificateValidationContext::default())),
        require_client_certificate: wire::bool(true),
        ..Default::default()
    })
}

/// Both in the present fields and in those that releases before 1.42 read.
fn common(context: tls_v3::CertificateValidationContext) -> tls_v3::CommonTlsContext {
    let own = tls_v3::CertificateProviderPluginInstance {
        instance_name: PROVIDER.to_owned(),
        certificate_name: "default".to_owned(),
    };
    let roots = tls_v3::CertificateProviderPluginInstance {
        instance_name: PROVIDER.to_owned(),
        certificate_name: "ROOTCA".to_owned(),
    };
    let old = |new: &tls_v3::CertificateProviderPluginInstance| CertificateProviderInstance {
        instance_name: new.instance_name.clone(),
        certificate_name: new.certificate_name.clone(),
    };
    let validation = CombinedCertificateValidationContext {
        validation_context_certificate_provider_instance: Some(old(&roots)),
        default_validation_context: Some(tls_v3::CertificateValidationContext {
            ca_certificate_provider_instance: Some(roots),
            ..context
        }),
        ..Default::default()
    };
    tls_v3::CommonTlsContext {
        tls_certificate_certificate_provider_instance: Some(old(&own)),
        tls_certificate_provider_instance: Some(own),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..Default::default()
    }
}
