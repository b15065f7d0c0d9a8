//! `istio.v1.auth.IstioCertificateService`.

use std::sync::Arc;
use std::time::Duration;

use meltemi_identity::authority::{Authority, AuthorityError};
use meltemi_identity::{SpiffeId, chain};
use meltemi_proto::istio::auth::v1::istio_certificate_service_server::IstioCertificateService;
use meltemi_proto::istio::auth::v1::{IstioCertificateRequest, IstioCertificateResponse};
use tonic::{Request, Response, Status};

use crate::authenticate::Authenticator;
use crate::metrics::Metrics;

/// Gives certificates to workloads for the identity that they have proved, whatever their request says.
pub struct CertificateService {
    /// Signs.
    pub authority: Arc<Authority>,
    /// Checks callers.
    pub authenticator: Authenticator,
    /// Life time where the caller asks for none.
    pub ttl: Duration,
    /// The longest life time.
    pub max_ttl: Duration,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.csr_count.inc();
        let (metadata, extensions, message) = request.into_parts();
        let caller = self.authenticator.caller(&metadata, &extensions).await;
        let caller = caller.and_then(|caller| {
            caller.ok_or_else(|| {
                Status::unauthenticated("certificates are given for a token or a certificate only")
            })
        });
        let caller = caller.inspect_err(|status| {
            self.metrics.authentication_failures.inc();
            tracing::warn!(reason = status.message(), "certificate request refused");
        })?;
        let chain = self.sign(&message, &caller).inspect_err(|status| {
            tracing::warn!(%caller, reason = status.message(), "certificate request refused");
        })?;
        self.metrics.certificates_issued.inc();
        tracing::debug!(%caller, "certificate issued");
        Ok(Response::new(IstioCertificateResponse { cert_chain: chain }))
    }
}

impl CertificateService {
    fn sign(&self, request: &IstioCertificateRequest, caller: &SpiffeId) -> Result<Vec<String>, Status> {
        let wanted = u64::try_from(request.validity_duration).ok().filter(|seconds| *seconds > 0);
        let ttl = wanted.map_or(self.ttl, Duration::from_secs);
        if ttl > self.max_ttl {
            let (asked, most) = (ttl.as_secs(), self.max_ttl.as_secs());
            return Err(Status::invalid_argument(format!(
                "{asked} s of validity asked; the limit is {most} s"
            )));
        }
        self.check_names(&request.csr, caller)?;
        let signed = self.authority.sign(&request.csr, caller, ttl).map_err(|error| match error {
            AuthorityError::Request(_) => {
                self.metrics.csr_parsing_errors.inc();
                Status::invalid_argument(error.to_string())
            }
            _ => {
                self.metrics.csr_signing_errors.inc();
                Status::internal(error.to_string())
            }
        })?;
        let mut certificates = split(&signed)?;
        certificates.extend(split(&self.authority.root_pem())?);
        Ok(certificates)
    }

    /// The names in a request are not used, but asking for somebody else's is an attack or a mistake: say so.
    fn check_names(&self, csr: &str, caller: &SpiffeId) -> Result<(), Status> {
        let names = requested_uris(csr).map_err(|message| {
            self.metrics.csr_parsing_errors.inc();
            Status::invalid_argument(message)
        })?;
        match names.iter().find(|name| **name != caller.to_string()) {
            Some(other) => {
                self.metrics.id_extraction_errors.inc();
                Err(Status::permission_denied(format!("the request is for {other}, the caller is {caller}")))
            }
            None => Ok(()),
        }
    }
}

/// One certificate an item, leaf first, as Istio's clients expect it.
fn split(pem: &str) -> Result<Vec<String>, Status> {
    let certificates = chain::parse(pem).map_err(|error| Status::internal(error.to_string()))?;
    Ok(certificates.iter().map(|certificate| chain::to_pem(std::slice::from_ref(certificate))).collect())
}

/// URI names in a PKCS#10 request.
fn requested_uris(csr: &str) -> Result<Vec<String>, String> {
    use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest};
    let (_, pem) = x509_parser::pem::parse_x509_pem(csr.as_bytes())
        .map_err(|_| "csr: not PEM (expected a BEGIN CERTIFICATE REQUEST block)".to_owned())?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents)
        .map_err(|error| format!("csr: not a PKCS#10 request: {error}"))?;
    let mut uris = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            uris.extend(names.general_names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            }));
        }
    }
    Ok(uris)
}

#[cfg(test)]
mod tests;
