//! `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::fmt;
use std::str::FromStr;

/// Limit of the SPIFFE standard.
const MAX_ID: usize = 2048;
/// Limit of the SPIFFE standard.
const MAX_TRUST_DOMAIN: usize = 255;

/// Identity of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// Who vouches for it.
    pub trust_domain: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes service account.
    pub service_account: String,
}

/// Why a text is not an identity of a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Another scheme or none.
    #[error("{0:?} is not a SPIFFE id: expected spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
    Shape(String),
    /// Longer than the standard allows.
    #[error("a SPIFFE id of {0} bytes; the limit is {MAX_ID}")]
    Long(usize),
    /// Not a trust domain.
    #[error("trust domain {0:?}: expected 1 to {MAX_TRUST_DOMAIN} of a-z, 0-9, '.', '-' and '_'")]
    TrustDomain(String),
    /// Not a name.
    #[error("{0} {1:?} in a SPIFFE id: expected letters, digits, '.', '-' and '_'")]
    Name(&'static str, String),
}

impl SpiffeId {
    /// An identity from its parts, checked.
    ///
    /// # Errors
    /// When a part has a character that SPIFFE does not allow.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, SpiffeError> {
        check_trust_domain(trust_domain)?;
        check_name("namespace", namespace)?;
        check_name("service account", service_account)?;
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > MAX_ID {
            return Err(SpiffeError::Long(text.len()));
        }
        let parts: Vec<&str> = text.strip_prefix("spiffe://").unwrap_or_default().split('/').collect();
        let [trust_domain, "ns", namespace, "sa", service_account] = parts[..] else {
            return Err(SpiffeError::Shape(text.to_owned()));
        };
        Self::new(trust_domain, namespace, service_account)
    }
}

/// Checks a trust domain.
///
/// # Errors
/// When it is empty, too long or has a character that SPIFFE does not allow.
pub fn check_trust_domain(text: &str) -> Result<(), SpiffeError> {
    let fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    if text.is_empty() || text.len() > MAX_TRUST_DOMAIN || !text.bytes().all(fine) {
        return Err(SpiffeError::TrustDomain(text.to_owned()));
    }
    Ok(())
}

fn check_name(what: &'static str, text: &str) -> Result<(), SpiffeError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let dots = matches!(text, "." | "..");
    if text.is_empty() || dots || !text.bytes().all(fine) {
        return Err(SpiffeError::Name(what, text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ids_survive_a_round_trip() {
        for text in
            ["spiffe://cluster.local/ns/default/sa/bookinfo-reviews", "spiffe://td_1.example-x/ns/a/sa/B.c_d"]
        {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let table = [
            ("", "not a SPIFFE id"),
            ("https://cluster.local/ns/a/sa/b", "not a SPIFFE id"),
            ("SPIFFE://cluster.local/ns/a/sa/b", "not a SPIFFE id"),
            ("spiffe://cluster.local/ns/a", "not a SPIFFE id"),
            ("spiffe://cluster.local/ns/a/sa/b/", "not a SPIFFE id"),
            ("spiffe://cluster.local/ns/a/sa/b/c", "not a SPIFFE id"),
            ("spiffe://cluster.local/sa/a/ns/b", "not a SPIFFE id"),
            ("spiffe:///ns/a/sa/b", "trust domain"),
            ("spiffe://Cluster.local/ns/a/sa/b", "trust domain"),
            ("spiffe://user@td/ns/a/sa/b", "trust domain"),
            ("spiffe://td:80/ns/a/sa/b", "trust domain"),
            ("spiffe://td/ns//sa/b", "namespace"),
            ("spiffe://td/ns/../sa/b", "namespace"),
            ("spiffe://td/ns/a/sa/b?x=1", "service account"),
            ("spiffe://td/ns/a/sa/b#x", "service account"),
            ("spiffe://td/ns/a/sa/%62", "service account"),
        ];
        for (text, expected) in table {
            let error = text.parse::<SpiffeId>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let long = format!("spiffe://td/ns/a/sa/{}", "b".repeat(MAX_ID));
        assert!(matches!(long.parse::<SpiffeId>(), Err(SpiffeError::Long(_))));
    }
}
