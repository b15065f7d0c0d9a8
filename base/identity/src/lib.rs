//! SPIFFE identities, keys, CSRs, certificate chains, verification and rustls configurations.
//!
//! Cryptography is aws-lc's, passed explicitly: nothing here depends on a process-wide default.

pub mod authority;
pub mod chain;
pub mod csr;
pub mod san;
pub mod serving;
pub mod spiffe;
pub mod tls;
pub mod verify;

pub use spiffe::SpiffeId;
