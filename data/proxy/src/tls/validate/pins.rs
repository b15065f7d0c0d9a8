//! Certificates and keys that are accepted by their hash: `verify_certificate_hash`, `verify_certificate_spki`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::CertificateValidationContext;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::base::reject::{Compiled, Reject, each};
use crate::tls::info::digest;

/// A SHA-256.
type Hash = [u8; 32];

/// What a peer's certificate must be, over what its chain says. One entry of either list is enough.
#[derive(Debug, Clone, Default)]
pub(super) struct Pins {
    certificates: Vec<Hash>,
    keys: Vec<Hash>,
}

impl Pins {
    pub(super) fn compile(proto: &CertificateValidationContext) -> Compiled<Self> {
        Ok(Self {
            certificates: each("verify_certificate_hash", &proto.verify_certificate_hash, |text| {
                hexadecimal(text)
            })?,
            keys: each("verify_certificate_spki", &proto.verify_certificate_spki, |text| base64(text))?,
        })
    }

    pub(super) fn merge(&mut self, delivered: &Self) {
        self.certificates.extend(&delivered.certificates);
        self.keys.extend(&delivered.keys);
    }

    pub(super) fn fit(&self, leaf: &CertificateDer<'_>) -> bool {
        if self.certificates.is_empty() && self.keys.is_empty() {
            return true;
        }
        let among = |hashes: &[Hash], data: &[u8]| {
            !hashes.is_empty() && hashes.iter().any(|hash| hash.as_slice() == digest(data).as_ref())
        };
        if among(&self.certificates, leaf) {
            return true;
        }
        let Ok((_, cert)) = X509Certificate::from_der(leaf) else { return false };
        among(&self.keys, cert.public_key().raw)
    }
}

/// Digits in pairs, with a colon between two pairs or without any.
fn hexadecimal(text: &str) -> Compiled<Hash> {
    let invalid =
        || Reject::new("", "is no SHA-256 in hexadecimal: 64 digits, or pairs with colons between them");
    let mut digits = text.as_bytes().to_vec();
    if digits.len() == 95 {
        let colons = digits.iter().skip(2).step_by(3).all(|byte| *byte == b':');
        if !colons {
            return Err(invalid());
        }
        digits.retain(|byte| *byte != b':');
    }
    if digits.len() != 64 {
        return Err(invalid());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut hash = Hash::default();
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return Err(invalid()) };
        *byte = digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low).ok_or_else(invalid)?;
    }
    Ok(hash)
}

fn base64(text: &str) -> Compiled<Hash> {
    let bytes = BASE64.decode(text).ok().and_then(|bytes| Hash::try_from(bytes).ok());
    bytes.ok_or_else(|| Reject::new("", "is no SHA-256 in base64: 44 characters"))
}
