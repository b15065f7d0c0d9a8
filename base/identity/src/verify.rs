//! rustls verifiers that check the chain to our roots and the names we accept, not the host name dialled.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::chain::{self, ChainError};
use crate::san::SanMatcher;
use crate::tls::provider;

/// Certificates that we trust to vouch for others.
#[derive(Clone, Debug)]
pub struct Roots {
    anchors: Arc<Vec<TrustAnchor<'static>>>,
    subjects: Arc<Vec<DistinguishedName>>,
}

impl Roots {
    /// Roots of a PEM text; several are a bundle, any of which may vouch.
    ///
    /// # Errors
    /// When there is none or one does not parse.
    pub fn from_pem(pem: &str) -> Result<Self, ChainError> {
        let mut store = RootCertStore::empty();
        for certificate in chain::parse(pem)? {
            store.add(certificate).map_err(|error| ChainError::Certificate(error.to_string()))?;
        }
        Ok(Self { subjects: Arc::new(store.subjects()), anchors: Arc::new(store.roots) })
    }
}

/// Why a peer was refused although its chain is sound.
#[derive(thiserror::Error)]
#[error("the peer's certificate is for {found}, expected one of: {expected}")]
struct WrongName {
    found: String,
    expected: String,
}

/// rustls prints the causes it does not know by their debug form, and this is read by operators.
impl std::fmt::Debug for WrongName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Chain and names, for both directions.
#[derive(Clone, Debug)]
struct Check {
    roots: Roots,
    allowed: Vec<SanMatcher>,
    provider: Arc<CryptoProvider>,
}

impl Check {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let parsed = EndEntityCert::try_from(leaf).map_err(pki)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        parsed
            .verify_for_usage(algorithms, &self.roots.anchors, intermediates, now, usage, None, None)
            .map_err(pki)?;
        if self.allowed.is_empty() {
            return Ok(());
        }
        let info = chain::inspect(leaf).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        if self.allowed.iter().any(|matcher| matcher.matches(&info)) {
            return Ok(());
        }
        let found = info.uris.into_iter().chain(info.dns).collect::<Vec<_>>().join(", ");
        let expected = self
            .allowed
            .iter()
            .map(|matcher| format!("{:?}", matcher.pattern))
            .collect::<Vec<_>>()
            .join(", ");
        let error = WrongName { found, expected };
        Err(CertificateError::Other(OtherError(Arc::new(error))).into())
    }
}

/// Keeps the distinctions that operators need: expired, unknown issuer, bad signature.
fn pki(error: webpki::Error) -> Error {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => CertificateError::Expired.into(),
        E::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        E::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature.into(),
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding.into(),
        other => CertificateError::Other(OtherError(Arc::new(other))).into(),
    }
}

/// Checks servers: chain to the roots, and one of the allowed names. The name dialled plays no part; without
/// allowed names any certificate under the roots will do.
#[derive(Clone, Debug)]
pub struct ServerVerifier(Check);

impl ServerVerifier {
    /// A verifier over these roots and names.
    pub fn new(roots: Roots, allowed: Vec<SanMatcher>) -> Self {
        Self(Check { roots, allowed, provider: provider() })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify(end_entity, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks clients: chain to the roots, and one of the allowed names if any are given.
#[derive(Clone, Debug)]
pub struct ClientVerifier {
    check: Check,
    mandatory: bool,
}

impl ClientVerifier {
    /// Clients must show a certificate.
    pub fn required(roots: Roots, allowed: Vec<SanMatcher>) -> Self {
        Self { check: Check { roots, allowed, provider: provider() }, mandatory: true }
    }

    /// Clients may come without a certificate; one that is shown must be sound.
    pub fn optional(roots: Roots, allowed: Vec<SanMatcher>) -> Self {
        Self { mandatory: false, ..Self::required(roots, allowed) }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.check.roots.subjects
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check.verify(end_entity, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.check.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.check.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.check.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
