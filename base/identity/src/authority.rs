//! A certificate authority that signs workloads' requests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::SpiffeId;
use crate::chain::{self, ChainError};

/// Certificates are valid from a little before now, for machines whose clocks are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Size limit of a request, in bytes.
const MAX_CSR: usize = 64 << 10;

/// Why the authority could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request is not acceptable; the peer's fault.
    #[error("certificate signing request: {0}")]
    Request(String),
    /// The authority's own certificate or key is not acceptable.
    #[error("authority: {0}")]
    Own(String),
    /// A chain could not be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The library failed.
    #[error("cryptography: {0}")]
    Crypto(#[from] rcgen::Error),
}

/// A signing certificate with its key, and the root that others trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// Sent after each leaf: the signing certificate and what stands above it, without the root.
    intermediates: Vec<CertificateDer<'static>>,
    root: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new root for a trust domain, with a new ECDSA P-256 key.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn self_signed(trust_domain: &str, ttl: Duration) -> Result<Self, AuthorityError> {
        Self::self_signed_at(trust_domain, SystemTime::now(), ttl)
    }

    /// [`Authority::self_signed`] at a given time.
    ///
    /// # Errors
    /// As [`Authority::self_signed`].
    pub fn self_signed_at(
        trust_domain: &str,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = ca_params(&format!("Root CA of {trust_domain}"), trust_domain);
        set_validity(&mut params, now, ttl);
        let certificate = params.self_signed(&key)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// An authority from its certificate chain (its own certificate first, root last) and key.
    ///
    /// # Errors
    /// When they do not parse, do not belong together or the certificate may not sign others.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let certificates = chain::parse(chain_pem)?;
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| AuthorityError::Own(format!("the private key does not parse: {error}")))?;
        let certificate = certificates.first().ok_or(ChainError::Empty)?.clone();
        if !chain::inspect(&certificate)?.is_ca {
            return Err(AuthorityError::Own(
                "its certificate may not sign others (basicConstraints CA:TRUE is missing)".into(),
            ));
        }
        check_pair(&certificate, &key)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let (intermediates, root) = split_root(&certificates)?;
        Ok(Self { issuer, certificate, intermediates, root })
    }

    /// A second authority under this one, for chains with an intermediate.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn intermediate(&self, name: &str, ttl: Duration) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = ca_params(name, name);
        set_validity(&mut params, SystemTime::now(), ttl);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let mut pem = certificate.pem();
        pem.push_str(&chain::to_pem(&self.intermediates));
        pem.push_str(&self.root_pem());
        Self::from_pem(&pem, &key.serialize_pem())
    }

    /// Signs a workload's request: PEM of the leaf and the intermediates, without the root.
    /// Of the request only the key is used; the names are `id`, which the caller has authenticated.
    ///
    /// # Errors
    /// [`AuthorityError::Request`] when the request does not parse or its signature is wrong.
    pub fn sign(&self, csr_pem: &str, id: &SpiffeId, ttl: Duration) -> Result<String, AuthorityError> {
        self.sign_at(csr_pem, id, SystemTime::now(), ttl)
    }

    /// [`Authority::sign`] at a given time.
    ///
    /// # Errors
    /// As [`Authority::sign`].
    pub fn sign_at(
        &self,
        csr_pem: &str,
        id: &SpiffeId,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<String, AuthorityError> {
        if csr_pem.len() > MAX_CSR {
            return Err(AuthorityError::Request(format!("{} bytes; the limit is {MAX_CSR}", csr_pem.len())));
        }
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        request.params = leaf_params(vec![SanType::URI(id.to_string().try_into()?)]);
        set_validity(&mut request.params, now, self.cap(now, ttl)?);
        let leaf = request.signed_by(&self.issuer)?;
        Ok(leaf.pem() + &chain::to_pem(&self.intermediates))
    }

    /// A certificate over a new key, for a server: `(chain PEM, key PEM)`.
    pub(crate) fn issue(
        &self,
        names: Vec<SanType>,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf_params(names);
        set_validity(&mut params, now, self.cap(now, ttl)?);
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok((leaf.pem() + &chain::to_pem(&self.intermediates), key.serialize_pem()))
    }

    /// PEM of the root that peers must trust.
    pub fn root_pem(&self) -> String {
        chain::to_pem(&self.root)
    }

    /// PEM of the signing certificate.
    pub fn certificate_pem(&self) -> String {
        chain::to_pem(std::slice::from_ref(&self.certificate))
    }

    /// PEM of the intermediates that follow each leaf.
    pub fn intermediates_pem(&self) -> String {
        chain::to_pem(&self.intermediates)
    }

    /// PEM of the signing key. A secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// When the signing certificate ends.
    ///
    /// # Errors
    /// Never for an authority that was made: its certificate was read then.
    pub fn expiry(&self) -> Result<SystemTime, AuthorityError> {
        Ok(chain::expiry(&self.certificate)?)
    }

    /// No leaf outlives its issuer.
    fn cap(&self, now: SystemTime, ttl: Duration) -> Result<Duration, AuthorityError> {
        let left = self
            .expiry()?
            .duration_since(now)
            .map_err(|_| AuthorityError::Own("its certificate has expired: rotate the authority".into()))?;
        Ok(ttl.min(left))
    }
}

/// Splits off the root: the last certificate when it signed itself, else whatever is last.
fn split_root(
    certificates: &[CertificateDer<'static>],
) -> Result<(Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>), ChainError> {
    let (root, intermediates) = certificates.split_last().ok_or(ChainError::Empty)?;
    Ok((intermediates.to_vec(), vec![root.clone()]))
}

fn check_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), AuthorityError> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| AuthorityError::Own(format!("its certificate does not parse: {error}")))?;
    if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(AuthorityError::Own("its private key does not belong to its certificate".into()));
    }
    Ok(())
}

fn ca_params(name: &str, organization: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, ttl: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now.saturating_add(ttl);
}

#[cfg(test)]
mod tests;
