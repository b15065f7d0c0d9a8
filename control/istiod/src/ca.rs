//! The certificate authority: where its root lives, the certificates it gives, and the root that everybody trusts.

mod root_config_map;
mod service;
mod store;

pub use root_config_map::RootConfigMaps;
pub use service::CertificateService;
pub use store::{CaError, load};

use std::sync::Arc;

use meltemi_identity::authority::{Authority, AuthorityError};
use meltemi_identity::chain::ChainError;
use meltemi_identity::serving;
use meltemi_identity::tls::Credential;
use std::time::Duration;

/// istiod's own certificate lives as long as a workload's; it is renewed at half its life.
pub const SERVING_TTL: Duration = Duration::from_secs(24 * 3600);

/// Why istiod has no certificate of its own.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The authority refused.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What it gave cannot be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// A fresh certificate for istiod itself.
pub fn serving_credential(authority: &Authority, names: &[String]) -> Result<Credential, ServingError> {
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["127.0.0.1", "::1"]).collect();
    let serving = serving::issue(authority, &names, SERVING_TTL)?;
    Ok(Credential::from_pem(&serving.chain_pem, &serving.key_pem)?)
}

/// A credential that is replaced while connections come in.
#[derive(Debug)]
pub struct Rotating(arc_swap::ArcSwap<Credential>);

impl Rotating {
    /// Starts with `credential`.
    pub fn new(credential: Credential) -> Arc<Self> {
        Arc::new(Self(arc_swap::ArcSwap::from_pointee(credential)))
    }

    /// New connections get `credential`.
    pub fn replace(&self, credential: Credential) {
        self.0.store(Arc::new(credential));
    }
}

impl rustls::server::ResolvesServerCert for Rotating {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.load().certified_key())
    }
}
