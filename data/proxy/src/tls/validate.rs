//! Whether a peer's certificate is good: its chain, and a subject alternative name we accept.

mod pins;
mod revocation;
mod verifier;

use std::fmt;
use std::sync::Arc;

use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::TrustChainVerification;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, SubjectAltNameMatcher,
};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use self::pins::Pins;
use self::revocation::Revocation;
pub(super) use self::verifier::Verifier;
use super::provider;
use super::secret::{certificates, read};
use crate::base::reject::{At, Compiled, Reject, each, required};
use crate::matcher::string::StringMatcher;
use crate::telemetry::info::CertificateInfo;

/// Whom to trust. Without roots any certificate is accepted, as Envoy does without `trusted_ca`.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    roots: Option<Arc<Vec<TrustAnchor<'static>>>>,
    /// What is said of the roots in `/certs`.
    pub root_info: Vec<Arc<CertificateInfo>>,
    sans: Vec<SanMatcher>,
    pins: Pins,
    revocation: Revocation,
    accept_untrusted: bool,
}

#[derive(Debug, Clone)]
struct SanMatcher {
    kind: SanType,
    matcher: StringMatcher,
}

/// What would make us trust fewer peers than we do must not be passed over.
fn reject_unsupported(proto: &CertificateValidationContext) -> Compiled<()> {
    let transparency = proto.require_signed_certificate_timestamp.as_ref().is_some_and(|v| v.value);
    let unsupported = [
        (proto.custom_validator_config.is_some(), "custom_validator_config"),
        (proto.ca_certificate_provider_instance.is_some(), "ca_certificate_provider_instance"),
        (proto.system_root_certs.is_some(), "system_root_certs"),
        (transparency, "require_signed_certificate_timestamp"),
        (proto.max_verify_depth.is_some(), "max_verify_depth"),
        (proto.allow_expired_certificate, "allow_expired_certificate"),
    ];
    crate::base::reject::unsupported(&unsupported)
}

impl Validation {
    /// Compiles Envoy's message.
    #[allow(deprecated)] // `match_subject_alt_names` is still sent.
    pub fn compile(proto: &CertificateValidationContext) -> Compiled<Self> {
        let mut validation = Self::default();
        if let Some(source) = &proto.trusted_ca {
            validation.read_roots(&read("trusted_ca", source)?)?;
        }
        reject_unsupported(proto)?;
        validation.pins = Pins::compile(proto)?;
        validation.revocation = Revocation::compile(proto)?;
        validation.accept_untrusted =
            proto.trust_chain_verification() == TrustChainVerification::AcceptUntrusted;
        validation.sans =
            each("match_typed_subject_alt_names", &proto.match_typed_subject_alt_names, SanMatcher::compile)?;
        for (index, old) in proto.match_subject_alt_names.iter().enumerate() {
            let matcher = StringMatcher::compile(old).at(format_args!("match_subject_alt_names[{index}]"))?;
            for kind in [SanType::Uri, SanType::Dns] {
                validation.sans.push(SanMatcher { kind, matcher: matcher.clone() });
            }
        }
        Ok(validation)
    }

    fn read_roots(&mut self, pem: &[u8]) -> Compiled<()> {
        let ders = certificates("trusted_ca", pem)?;
        let mut roots = Vec::with_capacity(ders.len());
        for der in &ders {
            let anchor = anchor_from_trusted_cert(der).map_err(|error| {
                Reject::new("trusted_ca", format!("holds no usable certificate: {error}"))
            })?;
            roots.push(anchor.to_owned());
            self.root_info.extend(super::info::certificate_info(der).map(Arc::new));
        }
        if roots.is_empty() {
            return Err(Reject::new("trusted_ca", "holds no certificate (PEM)"));
        }
        self.roots = Some(Arc::new(roots));
        Ok(())
    }

    /// The default context of the configuration joined with what SDS delivered.
    #[must_use]
    pub fn merged(&self, delivered: &Self) -> Self {
        let mut merged = self.clone();
        if delivered.roots.is_some() {
            merged.roots.clone_from(&delivered.roots);
            merged.root_info.clone_from(&delivered.root_info);
        }
        merged.sans.extend(delivered.sans.iter().cloned());
        merged.pins.merge(&delivered.pins);
        merged.revocation.merge(&delivered.revocation);
        merged.accept_untrusted |= delivered.accept_untrusted;
        merged
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        if !self.accept_untrusted {
            self.check_chain(leaf, intermediates, now, usage)?;
        }
        if !self.sans.is_empty() && !self.any_name_fits(leaf) {
            return Err(refused(Refusal::Names));
        }
        if !self.pins.fit(leaf) {
            return Err(refused(Refusal::Hashes));
        }
        Ok(())
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let Some(roots) = &self.roots else {
            // Nobody vouches for the lists either, and to pass them over would be to trust what they revoke.
            return if self.revocation.is_empty() { Ok(()) } else { Err(refused(Refusal::Lists)) };
        };
        let algorithms = provider().signature_verification_algorithms.all;
        let cert = EndEntityCert::try_from(leaf).map_err(refused)?;
        let lists = self.revocation.lists();
        let revocation = self.revocation.options(&lists);
        let verified = cert.verify_for_usage(algorithms, roots, intermediates, now, usage, revocation, None);
        verified.map(drop).map_err(|error| match error {
            webpki::Error::CertExpired { .. } => Error::InvalidCertificate(CertificateError::Expired),
            webpki::Error::UnknownIssuer => Error::InvalidCertificate(CertificateError::UnknownIssuer),
            webpki::Error::CertRevoked => Error::InvalidCertificate(CertificateError::Revoked),
            other => refused(other),
        })
    }

    fn any_name_fits(&self, leaf: &CertificateDer<'_>) -> bool {
        let Ok((_, cert)) = X509Certificate::from_der(leaf) else { return false };
        let Ok(Some(names)) = cert.subject_alternative_name() else { return false };
        names.value.general_names.iter().any(|name| self.sans.iter().any(|san| san.fits(name)))
    }
}

/// What the configuration has against a certificate, over its chain.
#[derive(Debug)]
enum Refusal {
    /// No subject alternative name is one we accept.
    Names,
    /// Neither it nor its key is among those asked for.
    Hashes,
    /// There are revocation lists but no roots.
    Lists,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Names => "SAN matcher: no subject alternative name of the peer is accepted",
            Self::Hashes => {
                "the peer's certificate is none of verify_certificate_hash and verify_certificate_spki"
            }
            Self::Lists => "crl needs a trusted_ca",
        })
    }
}

impl std::error::Error for Refusal {}

fn refused(why: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

impl SanMatcher {
    fn compile(proto: &SubjectAltNameMatcher) -> Compiled<Self> {
        let matcher = StringMatcher::compile(required("matcher", &proto.matcher)?).at("matcher")?;
        match proto.san_type() {
            SanType::Unspecified => Err(Reject::new("san_type", "is required")),
            SanType::OtherName => Err(Reject::new("san_type", "OTHER_NAME is not supported")),
            kind => Ok(Self { kind, matcher }),
        }
    }

    fn fits(&self, name: &GeneralName<'_>) -> bool {
        match (self.kind, name) {
            (SanType::Dns, GeneralName::DNSName(text)) => match self.matcher.as_exact() {
                Some(wanted) => dns_fits(wanted, text),
                None => self.matcher.is_match(text),
            },
            (SanType::Uri, GeneralName::URI(text)) | (SanType::Email, GeneralName::RFC822Name(text)) => {
                self.matcher.is_match(text)
            }
            (SanType::IpAddress, GeneralName::IPAddress(bytes)) => {
                ip(bytes).is_some_and(|ip| self.matcher.is_match(&ip.to_string()))
            }
            _ => false,
        }
    }
}

/// Whether a certificate's DNS name is for a host: case does not count, and `*` stands for the first label.
fn dns_fits(wanted: &str, name: &str) -> bool {
    let wildcard = || {
        let (label, rest) = wanted.split_once('.')?;
        let parent = name.strip_prefix("*.")?;
        Some(!label.is_empty() && rest.eq_ignore_ascii_case(parent))
    };
    wanted.eq_ignore_ascii_case(name) || wildcard() == Some(true)
}

fn ip(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Into::into),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
