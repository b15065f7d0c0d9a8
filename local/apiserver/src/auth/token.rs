//! Service-account tokens: JWTs signed with ES256, bound to a pod, an audience and a time.

use super::User;
use crate::object::{text, uid};
use crate::store::{Store, key};
use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use std::path::Path;

/// The issuer, as in every cluster that does not publish its keys.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Tokens longer than this are not looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// Signs and checks tokens.
pub struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// Namespace of the service account.
    pub namespace: &'a str,
    /// The service account's name.
    pub account: &'a str,
    /// The service account's uid.
    pub account_uid: &'a str,
    /// Whom the token is for.
    pub audiences: Vec<String>,
    /// Life in seconds.
    pub seconds: i64,
    /// The pod the token dies with: name, uid, node.
    pub pod: Option<(&'a str, &'a str, &'a str)>,
}

/// A token that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The service account as a user.
    pub user: User,
    /// Those of the wanted audiences that the token has.
    pub audiences: Vec<String>,
}

impl Tokens {
    /// Loads the signing key of the data directory, or makes it.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = crate::pki::private_dir(data_dir)?.join("sa.key");
        if !path.exists() {
            crate::pki::write_private(&path, &rcgen::KeyPair::generate()?.serialize_pem())?;
        }
        let pem =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let der =
            rcgen::KeyPair::from_pem(&pem).with_context(|| format!("{} holds no key", path.display()))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der.serialize_der())
            .map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().as_ref());
        Ok(Tokens { key_id: B64.encode(digest.as_ref()), key })
    }

    /// Signs a token; returns it and its expiry in seconds since 1970.
    pub fn issue(&self, claims: &Claims<'_>) -> Result<(String, i64)> {
        let now = jiff::Timestamp::now().as_second();
        let expires = now + claims.seconds;
        let mut kubernetes = json!({
            "namespace": claims.namespace,
            "serviceaccount": {"name": claims.account, "uid": claims.account_uid},
        });
        if let Some((pod, uid, node)) = claims.pod {
            kubernetes["pod"] = json!({"name": pod, "uid": uid});
            if !node.is_empty() {
                kubernetes["node"] = json!({ "name": node });
            }
        }
        let payload = json!({
            "aud": claims.audiences, "exp": expires, "iat": now, "nbf": now, "iss": ISSUER,
            "jti": crate::object::new_uid(), "kubernetes.io": kubernetes,
            "sub": format!("system:serviceaccount:{}:{}", claims.namespace, claims.account),
        });
        let header = json!({"alg": "ES256", "kid": self.key_id, "typ": "JWT"});
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(payload.to_string()));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| anyhow::anyhow!("cannot sign a service-account token"))?;
        Ok((format!("{signed}.{}", B64.encode(signature.as_ref())), expires))
    }

    /// The keys that verify our tokens, as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len().saturating_sub(1) / 2);
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": B64.encode(x), "y": B64.encode(y)}]})
    }

    /// Checks a token: signature, time, audience (`wanted`, or the API server's own when empty), and that the service
    /// account and the pod it is bound to still exist.
    pub fn authenticate(&self, store: &Store, token: &str, wanted: &[String]) -> Option<Accepted> {
        let payload = self.verified(token)?;
        let now = jiff::Timestamp::now().as_second();
        let number = |k: &str| payload.get(k).and_then(Value::as_i64);
        if number("exp")? <= now || number("nbf").unwrap_or(0) > now + 60 || payload.get("iss")? != ISSUER {
            return None;
        }
        let api = [ISSUER.to_owned()];
        let wanted = if wanted.is_empty() { &api[..] } else { wanted };
        let has = |a: &&String| crate::object::list(&payload, "/aud").iter().any(|v| v == a.as_str());
        let audiences: Vec<String> = wanted.iter().filter(has).cloned().collect();
        if audiences.is_empty() {
            return None;
        }
        Some(Accepted { user: user(store, payload.get("kubernetes.io")?)?, audiences })
    }

    fn verified(&self, token: &str) -> Option<Value> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&B64.decode(header).ok()?).ok()?;
        if header.get("alg")? != "ES256" {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        public.verify(signed.as_bytes(), &B64.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&B64.decode(payload).ok()?).ok()
    }
}

fn user(store: &Store, claims: &Value) -> Option<User> {
    let namespace = text(claims, "/namespace");
    let account = text(claims, "/serviceaccount/name");
    let account_uid = text(claims, "/serviceaccount/uid");
    let stored = store.get("/serviceaccounts", &key(namespace, account))?;
    if uid(&stored.value) != account_uid {
        return None;
    }
    let mut extra = Vec::new();
    let pod = text(claims, "/pod/name");
    if !pod.is_empty() {
        let stored = store.get("/pods", &key(namespace, pod))?;
        if uid(&stored.value) != text(claims, "/pod/uid") {
            return None;
        }
        let name = |k: &str| format!("authentication.kubernetes.io/{k}");
        extra.push((name("pod-name"), vec![pod.to_owned()]));
        extra.push((name("pod-uid"), vec![text(claims, "/pod/uid").to_owned()]));
        if !text(claims, "/node/name").is_empty() {
            extra.push((name("node-name"), vec![text(claims, "/node/name").to_owned()]));
        }
    }
    Some(User {
        name: format!("system:serviceaccount:{namespace}:{account}"),
        uid: account_uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        extra,
    })
}
