use meltemi_identity::csr;
use tonic::metadata::MetadataMap;

use super::*;
use crate::token::{ReviewTokens, ServiceAccount, TokenError};

struct OneToken;

#[async_trait::async_trait]
impl ReviewTokens for OneToken {
    async fn review(&self, token: &str, audiences: &[&str]) -> Result<ServiceAccount, TokenError> {
        assert_eq!(audiences, ["istio-ca"]);
        match token {
            "good" => Ok(ServiceAccount { namespace: "default".to_owned(), name: "reviews".to_owned() }),
            _ => Err(TokenError::Refused("it is not valid for this cluster".to_owned())),
        }
    }
}

fn service() -> CertificateService {
    CertificateService {
        authority: Arc::new(Authority::self_signed("cluster.local", Duration::from_secs(3600)).unwrap()),
        authenticator: Authenticator::new(Arc::new(OneToken), "cluster.local"),
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(1200),
        metrics: Arc::default(),
    }
}

async fn ask(
    service: &CertificateService,
    token: &str,
    csr: String,
    seconds: i64,
) -> Result<Vec<String>, Status> {
    let message = IstioCertificateRequest { csr, validity_duration: seconds, ..Default::default() };
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let request = Request::from_parts(metadata, Default::default(), message);
    service.create_certificate(request).await.map(|response| response.into_inner().cert_chain)
}

fn csr_for(account: &str) -> String {
    csr::generate(&SpiffeId::new("cluster.local", "default", account).unwrap()).unwrap().1
}

#[tokio::test]
async fn the_certificate_is_for_the_tokens_account() {
    let service = service();
    let certificates = ask(&service, "good", csr_for("reviews"), 0).await.unwrap();
    let leaf = chain::parse(&certificates[0]).unwrap();
    let id = chain::spiffe_id_of(&leaf[0]).unwrap().unwrap();
    assert_eq!(id.to_string(), "spiffe://cluster.local/ns/default/sa/reviews");
    assert_eq!(certificates.last().unwrap(), &service.authority.root_pem());
    assert_eq!(service.metrics.certificates_issued.get(), 1);
}

#[tokio::test]
async fn wrong_tokens_other_identities_and_bad_requests_are_refused() {
    let service = service();
    let code = async |token: &str, csr: String, seconds| {
        ask(&service, token, csr, seconds).await.unwrap_err().code()
    };
    assert_eq!(code("bad", csr_for("reviews"), 0).await, tonic::Code::Unauthenticated);
    assert_eq!(code("good", csr_for("ratings"), 0).await, tonic::Code::PermissionDenied);
    assert_eq!(code("good", "nonsense".to_owned(), 0).await, tonic::Code::InvalidArgument);
    assert_eq!(code("good", csr_for("reviews"), 99_999).await, tonic::Code::InvalidArgument);
    assert_eq!(service.metrics.authentication_failures.get(), 1);
    assert_eq!(service.metrics.certificates_issued.get(), 0);
}

#[tokio::test]
async fn without_any_credential_there_is_no_certificate() {
    let error =
        service().create_certificate(Request::new(IstioCertificateRequest::default())).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
}
