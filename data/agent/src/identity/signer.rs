//! Asks the certificate authority.

use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::istio::auth::v1::IstioCertificateRequest;
use meltemi_proto::istio::auth::v1::istio_certificate_service_client::IstioCertificateServiceClient;
use tonic::Request;

use crate::istiod::{Failure, Istiod};
use crate::settings::Settings;

/// Signs requests.
#[tonic::async_trait]
pub trait CertificateSigner: Send + Sync {
    /// The chain over the key of `csr`, PEM by PEM, leaf first, root last.
    async fn sign(&self, csr: &str) -> Result<Vec<String>, Failure>;
}

/// The control plane's certificate authority.
#[derive(Clone, Debug)]
pub struct Signer {
    istiod: Istiod,
    ttl: Duration,
}

/// The authority answers within this or counts as away.
const LIMIT: Duration = Duration::from_secs(15);

impl Signer {
    /// The authority of the settings.
    pub fn new(settings: &Arc<Settings>) -> Self {
        Self { istiod: Istiod::authority(settings), ttl: settings.certificate_ttl }
    }
}

#[tonic::async_trait]
impl CertificateSigner for Signer {
    async fn sign(&self, csr: &str) -> Result<Vec<String>, Failure> {
        let mut client = IstioCertificateServiceClient::new(self.istiod.channel().await?);
        let mut request = Request::new(IstioCertificateRequest {
            csr: csr.to_owned(),
            validity_duration: i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX),
            metadata: None,
        });
        request.set_timeout(LIMIT);
        *request.metadata_mut() = self.istiod.headers().await?;
        let response = client.create_certificate(request).await.map_err(|status| status_text(&status))?;
        Ok(response.into_inner().cert_chain)
    }
}

fn status_text(status: &tonic::Status) -> String {
    format!("the certificate authority refused: {:?}: {}", status.code(), status.message())
}
