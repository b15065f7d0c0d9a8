//! Whether a peer's certificate is good: its chain, and a subject alternative name we accept.

use std::fmt;
use std::sync::Arc;

use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::TrustChainVerification;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, SubjectAltNameMatcher,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

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
        (proto.crl.is_some(), "crl"),
        (!proto.verify_certificate_spki.is_empty(), "verify_certificate_spki"),
        (!proto.verify_certificate_hash.is_empty(), "verify_certificate_hash"),
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
        let bad = |error: webpki::Error| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
        };
        if let (Some(roots), false) = (&self.roots, self.accept_untrusted) {
            let algorithms = provider().signature_verification_algorithms.all;
            let cert = EndEntityCert::try_from(leaf).map_err(bad)?;
            cert.verify_for_usage(algorithms, roots, intermediates, now, usage, None, None).map_err(
                |error| match error {
                    webpki::Error::CertExpired { .. } => Error::InvalidCertificate(CertificateError::Expired),
                    webpki::Error::UnknownIssuer => {
                        Error::InvalidCertificate(CertificateError::UnknownIssuer)
                    }
                    other => bad(other),
                },
            )?;
        }
        if self.sans.is_empty() || self.any_name_fits(leaf) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoNameFits)))))
    }

    fn any_name_fits(&self, leaf: &CertificateDer<'_>) -> bool {
        let Ok((_, cert)) = X509Certificate::from_der(leaf) else { return false };
        let Ok(Some(names)) = cert.subject_alternative_name() else { return false };
        names.value.general_names.iter().any(|name| self.sans.iter().any(|san| san.fits(name)))
    }
}

/// No subject alternative name of the peer is one we accept.
#[derive(Debug)]
struct NoNameFits;

impl fmt::Display for NoNameFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SAN matcher: no subject alternative name of the peer is accepted")
    }
}

impl std::error::Error for NoNameFits {}

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

/// [`Validation`] as rustls asks for it, on either side.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) validation: Validation,
    pub(super) client_required: bool,
    /// A server's certificate must be for the name of the handshake.
    pub(super) must_match: bool,
}

macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.validation.check(end_entity, intermediates, now, KeyUsage::server_auth())?;
        if self.must_match {
            let other = |_| Error::InvalidCertificate(CertificateError::NotValidForName);
            let cert = EndEntityCert::try_from(end_entity).map_err(other)?;
            cert.verify_is_valid_for_subject_name(server_name).map_err(other)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.client_required
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.validation.check(end_entity, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}

#[cfg(test)]
mod tests;
