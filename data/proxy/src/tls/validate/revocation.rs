//! Certificates that their authority took back: `crl`.

use std::sync::Arc;

use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::CertificateValidationContext;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::base::reject::{Compiled, Reject};
use crate::tls::secret::read;

/// Revocation lists; without any nothing counts as revoked.
#[derive(Debug, Clone, Default)]
pub(super) struct Revocation {
    lists: Arc<Vec<CertRevocationList<'static>>>,
    leaf_only: bool,
}

impl Revocation {
    pub(super) fn compile(proto: &CertificateValidationContext) -> Compiled<Self> {
        let leaf_only = proto.only_verify_leaf_cert_crl;
        let Some(source) = &proto.crl else {
            return Ok(Self { leaf_only, ..Self::default() });
        };
        let ders = CertificateRevocationListDer::pem_slice_iter(&read("crl", source)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Reject::new("crl", format!("is not PEM: {error}")))?;
        if ders.is_empty() {
            return Err(Reject::new("crl", "holds no revocation list (PEM)"));
        }
        let list = |der: &CertificateRevocationListDer<'_>| {
            OwnedCertRevocationList::from_der(der)
                .map(CertRevocationList::from)
                .map_err(|error| Reject::new("crl", format!("holds no usable revocation list: {error}")))
        };
        Ok(Self { lists: Arc::new(ders.iter().map(list).collect::<Compiled<_>>()?), leaf_only })
    }

    /// Lists that SDS delivered stand in the place of those of the configuration.
    pub(super) fn merge(&mut self, delivered: &Self) {
        if !delivered.is_empty() {
            self.lists.clone_from(&delivered.lists);
        }
        self.leaf_only |= delivered.leaf_only;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    pub(super) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().collect()
    }

    /// As Envoy has it: every authority of the chain needs a list that has not run out, or only the one that issued
    /// the peer's certificate with `only_verify_leaf_cert_crl`.
    pub(super) fn options<'a>(
        &self,
        lists: &'a [&'a CertRevocationList<'a>],
    ) -> Option<RevocationOptions<'a>> {
        let depth =
            if self.leaf_only { RevocationCheckDepth::EndEntity } else { RevocationCheckDepth::Chain };
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        let builder = builder.with_depth(depth).with_status_policy(UnknownStatusPolicy::Deny);
        Some(builder.with_expiration_policy(ExpirationPolicy::Enforce).build())
    }
}
