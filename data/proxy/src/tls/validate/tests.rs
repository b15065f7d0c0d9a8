mod chains;

use super::*;
use meltemi_proto::envoy::config::core::v3::TypedExtensionConfig;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::SystemRootCerts;
use meltemi_proto::google::protobuf::UInt32Value;

#[test]
fn dns_names_fit_in_any_case_and_by_wildcard() {
    for (wanted, name, fits) in [
        ("a.example", "A.Example", true),
        ("www.a.example", "*.A.example", true),
        ("x.www.a.example", "*.a.example", false),
        ("a.example", "*.a.example", false),
        (".a.example", "*.a.example", false),
        ("a.example", "b.example", false),
    ] {
        assert_eq!(dns_fits(wanted, name), fits, "{wanted} {name}");
    }
}

#[test]
fn what_would_narrow_trust_is_not_passed_over() {
    let rejected = |change: fn(&mut CertificateValidationContext)| {
        let mut proto = CertificateValidationContext::default();
        change(&mut proto);
        Validation::compile(&proto).unwrap_err().field().to_owned()
    };
    let custom = TypedExtensionConfig { name: "spiffe".into(), ..Default::default() };
    assert_eq!(rejected(|p| p.system_root_certs = Some(SystemRootCerts {})), "system_root_certs");
    assert_eq!(
        rejected(|p| p.ca_certificate_provider_instance = Some(Default::default())),
        "ca_certificate_provider_instance"
    );
    assert_eq!(rejected(|p| p.max_verify_depth = Some(UInt32Value { value: 1 })), "max_verify_depth");
    let proto = CertificateValidationContext { custom_validator_config: Some(custom), ..Default::default() };
    assert_eq!(Validation::compile(&proto).unwrap_err().field(), "custom_validator_config");
}
