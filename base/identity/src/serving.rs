//! Certificates for servers: the control plane's own, for one.

use std::time::{Duration, SystemTime};

use rcgen::SanType;

use crate::authority::{Authority, AuthorityError};

/// A certificate chain with its key. The key is a secret.
#[derive(Clone)]
pub struct Serving {
    /// PEM, leaf first, without the root.
    pub chain_pem: String,
    /// PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// A certificate over a new key for these DNS names or addresses.
///
/// # Errors
/// When a name is not ASCII or the cryptographic library fails.
pub fn issue(authority: &Authority, names: &[&str], ttl: Duration) -> Result<Serving, AuthorityError> {
    let names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => Ok(SanType::DnsName((*name).try_into()?)),
        })
        .collect::<Result<Vec<_>, rcgen::Error>>()?;
    let (chain_pem, key_pem) = authority.issue(names, SystemTime::now(), ttl)?;
    Ok(Serving { chain_pem, key_pem })
}
