//! What a handshake established, in the words of the access log.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::{CommonState, ProtocolVersion};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::telemetry::TlsInfo;
use crate::telemetry::info::CertificateInfo;

/// Reads the outcome of a handshake.
pub fn of(state: &CommonState, local: Option<Arc<CertificateInfo>>) -> TlsInfo {
    TlsInfo {
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        },
        cipher: state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default(),
        alpn: state.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).as_ref().into()),
        peer: state
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(certificate_info)
            .map(Arc::new),
        local,
    }
}

/// The parts of a certificate that are logged or matched; `None` when it is not X.509.
pub fn certificate_info(der: &CertificateDer<'_>) -> Option<CertificateInfo> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let time = |t: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(t).unwrap_or_default());
    let mut info = CertificateInfo {
        subject: cert.subject().to_string().into(),
        issuer: cert.issuer().to_string().into(),
        serial: hex(cert.raw_serial()).into(),
        sha256: sha256(der).into(),
        der: der.as_ref().into(),
        validity: Some((
            time(cert.validity().not_before.timestamp()),
            time(cert.validity().not_after.timestamp()),
        )),
        ..CertificateInfo::default()
    };
    if let Ok(Some(sans)) = cert.subject_alternative_name() {
        for name in &sans.value.general_names {
            match name {
                GeneralName::URI(uri) => info.uri_sans.push((*uri).into()),
                GeneralName::DNSName(dns) => info.dns_sans.push((*dns).into()),
                _ => {}
            }
        }
    }
    Some(info)
}

fn sha256(der: &[u8]) -> String {
    hex(digest(der).as_ref())
}

/// The provider's own SHA-256, taken from one of its cipher suites: no further crate is needed for one hash.
pub(super) fn digest(data: &[u8]) -> rustls::crypto::hash::Output {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    match suite {
        rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider.hash(data),
        rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider.hash(data),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
