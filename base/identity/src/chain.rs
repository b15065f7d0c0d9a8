//! Certificate chains: PEM in and out, and what a certificate says.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::SpiffeId;

/// Why a chain or key could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The text holds no certificate.
    #[error("no certificate in the PEM: expected at least one BEGIN CERTIFICATE block")]
    Empty,
    /// The text holds no private key.
    #[error(
        "no private key in the PEM: expected a BEGIN PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY block"
    )]
    NoKey,
    /// The armour is broken.
    #[error("broken PEM: {0}")]
    Pem(String),
    /// The content is broken.
    #[error("broken certificate: {0}")]
    Certificate(String),
    /// More than one URI name: a SPIFFE certificate has exactly one.
    #[error("a certificate with {0} URI names; an X.509-SVID has exactly one")]
    ManyUris(usize),
    /// The key does not belong to the certificate or its kind is not supported.
    #[error("private key: {0}")]
    Key(String),
}

/// Certificates of a PEM text, in order.
///
/// # Errors
/// When the armour is broken or there is no certificate.
pub fn parse(pem: &str) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| ChainError::Pem(error.to_string()))?;
    if chain.is_empty() { Err(ChainError::Empty) } else { Ok(chain) }
}

/// The first private key of a PEM text.
///
/// # Errors
/// When the armour is broken or there is no key.
pub fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, ChainError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| ChainError::NoKey)
}

/// Certificates as PEM.
pub fn to_pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::Engine;
    let mut pem = String::new();
    for certificate in chain {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// What a certificate says about its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// URI names.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Subject, as text.
    pub subject: String,
    /// Issuer, as text.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
    /// May it sign other certificates?
    pub is_ca: bool,
}

impl Info {
    /// The one identity of a workload's certificate; `None` when it has no URI name.
    ///
    /// # Errors
    /// When there are several URI names or the one is not a SPIFFE id.
    pub fn spiffe_id(&self) -> Result<Option<SpiffeId>, ChainError> {
        match self.uris.as_slice() {
            [] => Ok(None),
            [uri] => uri.parse().map(Some).map_err(|error| ChainError::Certificate(format!("{error}"))),
            many => Err(ChainError::ManyUris(many.len())),
        }
    }
}

/// Reads a certificate.
///
/// # Errors
/// When it does not parse.
pub fn inspect(certificate: &CertificateDer<'_>) -> Result<Info, ChainError> {
    let broken = |error: &dyn std::fmt::Display| ChainError::Certificate(error.to_string());
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| broken(&error))?;
    let mut info = Info {
        uris: Vec::new(),
        dns: Vec::new(),
        ips: Vec::new(),
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        serial: format!("{:x}", parsed.serial),
        not_before: time(parsed.validity().not_before.timestamp()),
        not_after: time(parsed.validity().not_after.timestamp()),
        is_ca: parsed.is_ca(),
    };
    let names = parsed.subject_alternative_name().map_err(|error| broken(&error))?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) => info.uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => info.dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => info.ips.extend(address(bytes)),
            _ => {}
        }
    }
    Ok(info)
}

/// The identity in a certificate; `None` when it has no URI name.
///
/// # Errors
/// When the certificate does not parse or its URI names are not exactly one SPIFFE id.
pub fn spiffe_id_of(certificate: &CertificateDer<'_>) -> Result<Option<SpiffeId>, ChainError> {
    inspect(certificate)?.spiffe_id()
}

/// When a certificate ends.
///
/// # Errors
/// When it does not parse.
pub fn expiry(certificate: &CertificateDer<'_>) -> Result<SystemTime, ChainError> {
    Ok(inspect(certificate)?.not_after)
}

fn time(seconds: i64) -> SystemTime {
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => UNIX_EPOCH,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}
