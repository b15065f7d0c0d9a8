use super::*;
use meltemi_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{SdsSecretConfig, TlsCertificate};
use meltemi_proto::google::protobuf::BoolValue;

#[test]
fn a_validation_secret_of_the_wrong_kind_trusts_nobody() {
    let ttl = std::time::Duration::from_secs(60);
    let authority = meltemi_identity::authority::Authority::self_signed("td", ttl).unwrap();
    let cert = meltemi_identity::serving::issue(&authority, &["a.test"], ttl).unwrap();
    let inline = |text: String| {
        Some(DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() })
    };
    let cert = TlsCertificate {
        certificate_chain: inline(cert.chain_pem),
        private_key: inline(cert.key_pem),
        ..Default::default()
    };
    let secrets = Secrets::default();
    let reference = SdsSecretConfig { name: "ROOTCA".into(), ..Default::default() };
    let proto = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificates: vec![cert.clone()],
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(reference)),
            ..Default::default()
        }),
        require_client_certificate: Some(BoolValue { value: true }),
        ..Default::default()
    };
    let context = ServerContext::compile(&proto, &secrets).unwrap();
    let wrong = Secret::Certificate(Arc::new(Certificate::compile(&cert).unwrap()));
    secrets.slot("ROOTCA").set(Some(Arc::new(wrong)));
    let refused = context.config().map(drop).unwrap_err();
    assert_eq!(refused, "the validation context's secret holds a certificate");
}
