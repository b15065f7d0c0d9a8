//! The root key and certificate in Kubernetes: plugged in as `cacerts`, or our own in `istio-ca-secret`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use meltemi_identity::authority::{Authority, AuthorityError};

/// Certificates that the operator brings.
const PLUGGED_IN: &str = "cacerts";
/// Certificates that istiod makes for itself.
const SELF_SIGNED: &str = "istio-ca-secret";
const SECRET_TYPE: &str = "istio.io/ca-root";

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The API server could not be asked.
    #[error("Secret {name}: {source}")]
    Api {
        /// The Secret.
        name: &'static str,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The Secret lacks something.
    #[error(
        "Secret {name} has no key `{key}`; it needs ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem"
    )]
    Missing {
        /// The Secret.
        name: &'static str,
        /// The key.
        key: &'static str,
    },
    /// What it holds cannot be used.
    #[error("Secret {name}: {source}")]
    Authority {
        /// The Secret.
        name: &'static str,
        /// The cause.
        source: AuthorityError,
    },
}

/// Reads the authority, making and storing a self-signed one where there is none. Several istiods may start at once:
/// the first to store its root wins, the others take that.
pub async fn load(
    client: kube::Client,
    namespace: &str,
    trust_domain: &str,
    ttl: Duration,
) -> Result<Authority, CaError> {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    if let Some(secret) = get(&secrets, PLUGGED_IN).await? {
        return read(PLUGGED_IN, &secret);
    }
    if let Some(secret) = get(&secrets, SELF_SIGNED).await? {
        return read(SELF_SIGNED, &secret);
    }
    let authority = Authority::self_signed(trust_domain, ttl)
        .map_err(|source| CaError::Authority { name: SELF_SIGNED, source })?;
    match secrets.create(&PostParams::default(), &write(namespace, &authority)).await {
        Ok(_) => Ok(authority),
        Err(kube::Error::Api(status)) if status.code == 409 => match get(&secrets, SELF_SIGNED).await? {
            Some(secret) => read(SELF_SIGNED, &secret),
            None => Err(CaError::Missing { name: SELF_SIGNED, key: "ca-cert.pem" }),
        },
        Err(source) => Err(CaError::Api { name: SELF_SIGNED, source: Box::new(source) }),
    }
}

async fn get(secrets: &Api<Secret>, name: &'static str) -> Result<Option<Secret>, CaError> {
    secrets.get_opt(name).await.map_err(|source| CaError::Api { name, source: Box::new(source) })
}

/// The chain is the signing certificate, what stands between (`cert-chain.pem`, which may repeat the former) and the root.
fn read(name: &'static str, secret: &Secret) -> Result<Authority, CaError> {
    let text = |key: &'static str| {
        let data = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| &bytes.0);
        let text =
            data.filter(|bytes| !bytes.is_empty()).and_then(|bytes| String::from_utf8(bytes.clone()).ok());
        text.ok_or(CaError::Missing { name, key })
    };
    let certificate = text("ca-cert.pem")?;
    let key = text("ca-key.pem")?;
    let root = text("root-cert.pem").unwrap_or_else(|_| certificate.clone());
    let chain = text("cert-chain.pem").unwrap_or_default();
    let mut blocks: Vec<&str> = Vec::new();
    for block in [&certificate, &chain, &root].into_iter().flat_map(|pem| pem_blocks(pem)) {
        if !blocks.contains(&block) {
            blocks.push(block);
        }
    }
    // The root ends the chain, wherever else it was listed.
    if let Some(root) = pem_blocks(&root).next()
        && blocks.len() > 1
    {
        blocks.retain(|block| *block != root);
        blocks.push(root);
    }
    Authority::from_pem(&(blocks.join("\n") + "\n"), &key)
        .map_err(|source| CaError::Authority { name, source })
}

fn pem_blocks(pem: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END)
        .filter_map(|part| Some(part.get(part.find("-----BEGIN CERTIFICATE-----")?..)?.trim()))
}

fn write(namespace: &str, authority: &Authority) -> Secret {
    let certificate = authority.certificate_pem();
    let entries = [
        ("ca-cert.pem", certificate),
        ("ca-key.pem", authority.key_pem()),
        ("root-cert.pem", authority.root_pem()),
        ("cert-chain.pem", authority.intermediates_pem()),
    ];
    let data: BTreeMap<_, _> =
        entries.into_iter().map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes()))).collect();
    let mut secret = Secret { data: Some(data), type_: Some(SECRET_TYPE.to_owned()), ..Secret::default() };
    secret.metadata.name = Some(SELF_SIGNED.to_owned());
    secret.metadata.namespace = Some(namespace.to_owned());
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3600);

    #[test]
    fn what_was_stored_is_read_back() {
        let authority = Authority::self_signed("cluster.local", TTL).unwrap();
        let again = read(SELF_SIGNED, &write("istio-system", &authority)).unwrap();
        assert_eq!(again.root_pem(), authority.root_pem());
        assert_eq!(again.key_pem(), authority.key_pem());
    }

    #[test]
    fn a_plugged_in_intermediate_keeps_its_root_apart() {
        let root = Authority::self_signed("cluster.local", TTL).unwrap();
        let middle = root.intermediate("istiod", TTL).unwrap();
        let mut secret = write("istio-system", &middle);
        // As users make it: the chain repeats the signing certificate and ends in the root.
        let chain = middle.certificate_pem() + &root.root_pem();
        secret.data.as_mut().unwrap().insert("cert-chain.pem".to_owned(), ByteString(chain.into_bytes()));
        let read = read(PLUGGED_IN, &secret).unwrap();
        assert_eq!(read.root_pem(), root.root_pem());
        assert_eq!(read.intermediates_pem().matches("BEGIN CERTIFICATE").count(), 1);
    }

    #[test]
    fn a_missing_key_is_named() {
        let authority = Authority::self_signed("cluster.local", TTL).unwrap();
        let mut secret = write("istio-system", &authority);
        secret.data.as_mut().unwrap().remove("ca-key.pem");
        let error = read(PLUGGED_IN, &secret).unwrap_err().to_string();
        assert!(error.contains("`ca-key.pem`") && error.contains("cacerts"), "{error}");
    }
}
