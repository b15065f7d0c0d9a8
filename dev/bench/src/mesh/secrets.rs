//! The certificates of the proxies, over SDS, as an agent serves them.

use std::sync::Arc;
use std::time::Duration;

use meltemi_identity::authority::Authority;
use meltemi_identity::{SpiffeId, csr};
use meltemi_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret::Type,
};
use meltemi_proto::type_url;
use meltemi_xds::server::{Handler, Session, StreamInfo};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use prost::Message as _;
use tonic::Status;

/// A day: longer than any bench.
const VALID: Duration = Duration::from_secs(24 * 3600);

/// One certificate for all proxies, and its root.
#[derive(Clone)]
pub struct Secrets(ResourceSet);

impl Secrets {
    /// Makes an authority and lets it sign.
    pub fn issue() -> anyhow::Result<Self> {
        let authority = Authority::self_signed("cluster.local", VALID)?;
        let id = SpiffeId::new("cluster.local", super::NAMESPACE, "default")?;
        let (key, request) = csr::generate(&id)?;
        let chain = authority.sign(&request, &id, VALID)? + &authority.intermediates_pem();
        let certificate = TlsCertificate {
            certificate_chain: Some(inline(chain)),
            private_key: Some(inline(key)),
            ..Default::default()
        };
        let roots = CertificateValidationContext {
            trusted_ca: Some(inline(authority.root_pem())),
            ..Default::default()
        };
        let all =
            [("default", Type::TlsCertificate(certificate)), ("ROOTCA", Type::ValidationContext(roots))];
        Ok(Self(Arc::new(all.map(|(name, secret)| resource(name, secret)).into_iter().collect())))
    }
}

fn inline(pem: String) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(pem)), ..Default::default() }
}

fn resource(name: &str, secret: Type) -> (Arc<str>, Resource) {
    let secret = Secret { name: name.to_owned(), r#type: Some(secret) };
    let body = secret.encode_to_vec().into();
    let name: Arc<str> = name.into();
    (name.clone(), Resource { name, version: "1".into(), body, type_url: type_url::SECRET })
}

#[tonic::async_trait]
impl Handler for Secrets {
    type Session = Self;

    async fn open(&self, _: StreamInfo) -> Result<Self, Status> {
        Ok(self.clone())
    }
}

#[tonic::async_trait]
impl Session for Secrets {
    fn resources(&mut self, _: &str, _: &Subscription) -> ResourceSet {
        self.0.clone()
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        std::future::pending().await
    }

    fn acked(&mut self, _: &str, _: &str, _: &str) {}

    fn nacked(&mut self, _: &str, _: &str, error: &str) {
        eprintln!("a proxy refused a secret: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_and_root_are_there() {
        let names: Vec<String> = Secrets::issue().unwrap().0.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["ROOTCA", "default"]);
    }
}
