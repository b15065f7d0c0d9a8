//! TLS on both sides: secrets that can be swapped at any time, contexts compiled from Envoy's messages, verification of
//! peers by chain and subject alternative name.

pub mod client;
pub mod info;
pub mod maybe;
mod parameters;
pub mod secret;
pub mod server;
mod shown;
pub mod validate;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// The one crypto provider, passed explicitly everywhere.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}
