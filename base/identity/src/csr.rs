//! Certificate signing requests.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};

use crate::SpiffeId;
use crate::authority::AuthorityError;

/// A new ECDSA P-256 key and a request for a certificate over it: `(key PEM, CSR PEM)`.
///
/// # Errors
/// When the cryptographic library fails.
pub fn generate(id: &SpiffeId) -> Result<(String, String), AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
    let csr = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), csr))
}
