//! What is known of a TLS handshake.

use std::sync::Arc;
use std::time::SystemTime;

/// What a finished TLS handshake established, on either side of the proxy.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The suite's standard name, e.g. `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// The negotiated ALPN protocol.
    pub alpn: Option<Arc<str>>,
    /// The peer's certificate; absent when it presented none.
    pub peer: Option<Arc<CertificateInfo>>,
    /// Our own certificate; absent when we presented none.
    pub local: Option<Arc<CertificateInfo>>,
}

impl TlsInfo {
    /// The peer's first URI SAN: its SPIFFE identity.
    pub fn peer_principal(&self) -> Option<&str> {
        self.peer.as_ref()?.uri_sans.first().map(AsRef::as_ref)
    }

    /// Our own first URI SAN.
    pub fn local_principal(&self) -> Option<&str> {
        self.local.as_ref()?.uri_sans.first().map(AsRef::as_ref)
    }
}

/// The parts of a certificate that are logged or matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Subject in RFC 2253 form; empty when the certificate has none.
    pub subject: Arc<str>,
    /// Issuer in RFC 2253 form.
    pub issuer: Arc<str>,
    /// Serial number as lower-case hexadecimal.
    pub serial: Arc<str>,
    /// SHA-256 of the DER form as lower-case hexadecimal.
    pub sha256: Arc<str>,
    /// URI subject alternative names.
    pub uri_sans: Vec<Arc<str>>,
    /// DNS subject alternative names.
    pub dns_sans: Vec<Arc<str>>,
    /// Start and end of validity.
    pub validity: Option<(SystemTime, SystemTime)>,
    /// The certificate itself, DER.
    pub der: Arc<[u8]>,
}
