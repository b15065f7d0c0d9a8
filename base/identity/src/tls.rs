//! rustls configurations made of our verifiers and credentials.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use crate::chain::{self, ChainError};
use crate::verify::{ClientVerifier, ServerVerifier};

/// aws-lc, shared by all configurations.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// What we show to a peer.
#[derive(Clone, Debug)]
pub struct Credential(Arc<CertifiedKey>);

impl Credential {
    /// A chain (leaf first) with its key.
    ///
    /// # Errors
    /// When they do not parse or do not belong together.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, ChainError> {
        let chain = chain::parse(chain_pem)?;
        let key = chain::parse_key(key_pem)?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| ChainError::Key(error.to_string()))?;
        Ok(Self(Arc::new(certified)))
    }

    /// The key with its chain, as rustls wants it.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        self.0.clone()
    }

    /// The first certificate of the chain.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.0.cert.first()
    }
}

impl rustls::server::ResolvesServerCert for Credential {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl rustls::client::ResolvesClientCert for Credential {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client that checks servers by `verifier`, shows `credential` if asked and offers `alpn`.
///
/// # Errors
/// When rustls refuses the provider; it never does with ours.
pub fn client_config(
    verifier: ServerVerifier,
    credential: Option<Credential>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match credential {
        Some(credential) => builder.with_client_cert_resolver(Arc::new(credential)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// A server that shows `credential`, checks clients by `verifier` if there is one and accepts `alpn`.
///
/// # Errors
/// As [`client_config`].
pub fn server_config(
    credential: Arc<dyn rustls::server::ResolvesServerCert>,
    verifier: Option<ClientVerifier>,
    alpn: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(credential);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
