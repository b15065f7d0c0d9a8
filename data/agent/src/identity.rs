//! The workload's certificate: asked for, renewed at half of its life, handed to the proxy by SDS.

mod files;
mod rotation;
mod secrets;
mod signer;

pub use rotation::{Rotation, Workload, renewal_wait};
pub use secrets::Secrets;
pub use signer::{CertificateSigner, Signer};
