//! Which of its certificates a proxy shows.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::secret::Certificate;

/// Certificates with keys of several kinds for one server; towards servers there is one.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Vec<Arc<Certificate>>);

impl Shown {
    /// An ECDSA certificate for clients that can check one, else the first that they can check, else the first.
    pub(super) fn pick(&self, hello: &ClientHello<'_>) -> Option<&Arc<Certificate>> {
        self.pick_for(hello.signature_schemes())
    }

    fn pick_for(&self, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        let fits = |shown: &&Arc<Certificate>| shown.key.key.choose_scheme(schemes).is_some();
        let ecdsa = |shown: &&Arc<Certificate>| shown.key.key.algorithm() == SignatureAlgorithm::ECDSA;
        let fitting = || self.0.iter().filter(fits);
        fitting().find(ecdsa).or_else(|| fitting().next()).or_else(|| self.0.first())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(&hello).map(|shown| shown.key.clone())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _roots: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.pick_for(schemes).map(|shown| shown.key.clone())
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use meltemi_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
    use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::TlsCertificate;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Arc<Certificate> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        let inline =
            |text| Some(DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() });
        let proto = TlsCertificate {
            certificate_chain: inline(cert.pem()),
            private_key: inline(key.serialize_pem()),
            ..Default::default()
        };
        Arc::new(Certificate::compile(&proto).unwrap())
    }

    #[test]
    fn a_client_gets_a_certificate_that_it_can_check() {
        let edwards = certificate(&rcgen::PKCS_ED25519);
        let ecdsa = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let shown = Shown(vec![edwards.clone(), ecdsa.clone()]);
        let picked = |schemes: &[SignatureScheme]| shown.pick_for(schemes).unwrap().info.sha256.clone();
        use SignatureScheme::{ECDSA_NISTP256_SHA256, ED25519, RSA_PSS_SHA256};
        assert_eq!(picked(&[ED25519, ECDSA_NISTP256_SHA256]), ecdsa.info.sha256);
        assert_eq!(picked(&[RSA_PSS_SHA256, ED25519]), edwards.info.sha256);
        assert_eq!(picked(&[RSA_PSS_SHA256]), edwards.info.sha256, "the handshake says what is wrong");
    }
}
