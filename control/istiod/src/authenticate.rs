//! Who calls: a client certificate of our own authority, or a token.

use std::sync::Arc;

use meltemi_identity::SpiffeId;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use crate::peer::PeerInfo;
use crate::token::{PROXY_AUDIENCE, ReviewTokens, ServiceAccount, TokenError};

/// Checks callers of gRPC services.
#[derive(Clone)]
pub struct Authenticator {
    tokens: Arc<dyn ReviewTokens>,
    trust_domain: Arc<str>,
}

impl Authenticator {
    /// Tokens are checked by `tokens`; certificates must be of `trust_domain`.
    pub fn new(tokens: Arc<dyn ReviewTokens>, trust_domain: &str) -> Self {
        Self { tokens, trust_domain: trust_domain.into() }
    }

    /// The caller's identity. `Ok(None)` is a caller on the plain-text port without a token: somebody on this machine.
    pub async fn caller(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> Result<Option<SpiffeId>, Status> {
        let peer = extensions.get::<PeerInfo>();
        if let Some(identity) = peer.and_then(|peer| peer.identity.as_ref()) {
            return self.of_certificate(identity).map(Some);
        }
        if let Some(token) = bearer(metadata)? {
            return self.of_token(token).await.map(Some);
        }
        // The port is bound to the loopback; this is the second lock on the same door.
        match peer {
            Some(peer) if !peer.tls && peer.remote.ip().is_loopback() => Ok(None),
            _ => Err(Status::unauthenticated(
                "show a service-account token (authorization: Bearer …) or a client certificate of this mesh",
            )),
        }
    }

    fn of_certificate(&self, identity: &SpiffeId) -> Result<SpiffeId, Status> {
        if *identity.trust_domain == *self.trust_domain {
            return Ok(identity.clone());
        }
        let ours = &self.trust_domain;
        Err(Status::unauthenticated(format!(
            "the certificate is of {identity}, not of the trust domain {ours}"
        )))
    }

    async fn of_token(&self, token: &str) -> Result<SpiffeId, Status> {
        let ServiceAccount { namespace, name } =
            self.tokens.review(token, &[PROXY_AUDIENCE]).await.map_err(|error| match error {
                TokenError::Refused(_) => Status::unauthenticated(error.to_string()),
                TokenError::Unavailable(_) => Status::unavailable(error.to_string()),
            })?;
        SpiffeId::new(&self.trust_domain, &namespace, &name)
            .map_err(|error| Status::unauthenticated(error.to_string()))
    }
}

fn bearer(metadata: &MetadataMap) -> Result<Option<&str>, Status> {
    let Some(value) = metadata.get("authorization") else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| Status::unauthenticated("the header `authorization` is not ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Status::unauthenticated("the header `authorization` is not of the form `Bearer TOKEN`")),
    }
}
