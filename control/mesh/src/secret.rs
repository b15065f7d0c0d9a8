//! Certificates that gateways serve, from Kubernetes secrets.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Secret;

/// A certificate with its key, and certificates to trust; PEM.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credential {
    /// Chain, leaf first.
    pub certificate: Option<Vec<u8>>,
    /// Private key.
    pub key: Option<Vec<u8>>,
    /// Certificates of authorities to trust.
    pub ca: Option<Vec<u8>>,
    /// Revocation list.
    pub crl: Option<Vec<u8>>,
}

impl Credential {
    /// Reads a secret of type `kubernetes.io/tls` or one with Istio's generic keys. `None` when it holds neither.
    pub fn of(secret: &Secret) -> Option<Credential> {
        let empty = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&empty);
        let get = |names: [&str; 2]| {
            names.iter().find_map(|name| data.get(*name)).map(|b| b.0.clone()).filter(|b| !b.is_empty())
        };
        let credential = Credential {
            certificate: get(["cert", "tls.crt"]),
            key: get(["key", "tls.key"]),
            ca: get(["cacert", "ca.crt"]),
            crl: get(["crl", "ca.crl"]),
        };
        let useful =
            (credential.certificate.is_some() && credential.key.is_some()) || credential.ca.is_some();
        useful.then_some(credential)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the contents: they end up in logs.
        f.debug_struct("Credential").field("has_key", &self.key.is_some()).finish_non_exhaustive()
    }
}
