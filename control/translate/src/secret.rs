//! Certificates of gateways, by the names under which their listeners ask for them.

use std::collections::BTreeSet;

use meltemi_mesh::secret::Credential;
use meltemi_mesh::{ProxyView, Snapshot};
use meltemi_proto::envoy::config::core::v3::{DataSource, data_source};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3 as tls;

use crate::resource::Names;

const SCHEME: &str = "kubernetes://";
const CA_SUFFIX: &str = "-cacert";

/// The secrets named. A secret that is missing, or that belongs to another namespace, is left out.
pub fn secrets(snapshot: &Snapshot, view: &ProxyView, wanted: &Names<'_>) -> Vec<tls::Secret> {
    let used;
    let names: &BTreeSet<String> = match wanted {
        Names::Only(names) => names,
        Names::All => {
            used = named_by_gateways(view);
            &used
        }
    };
    if !view.is_router() {
        return Vec::new();
    }
    names.iter().filter_map(|name| secret(snapshot, view, name)).collect()
}

/// Names of the secrets that the Gateways of a proxy use.
pub fn named_by_gateways(view: &ProxyView) -> BTreeSet<String> {
    let servers = view.gateways.iter().flat_map(|g| &g.spec.servers);
    let mut names = BTreeSet::new();
    for tls in servers.filter_map(|s| s.tls.as_ref()) {
        for name in
            std::iter::once(&tls.credential_name).chain(&tls.credential_names).filter(|n| !n.is_empty())
        {
            names.insert(format!("{SCHEME}{name}"));
            names.insert(format!("{SCHEME}{name}{CA_SUFFIX}"));
        }
        if !tls.ca_cert_credential_name.is_empty() {
            names.insert(format!("{SCHEME}{}{CA_SUFFIX}", tls.ca_cert_credential_name));
        }
    }
    names
}

fn secret(snapshot: &Snapshot, view: &ProxyView, resource: &str) -> Option<tls::Secret> {
    let path = resource.strip_prefix(SCHEME)?;
    let own = view.identity.namespace.as_str();
    let (namespace, name) = path.split_once('/').unwrap_or((own, path));
    // A gateway must not read another namespace's keys.
    if namespace != own {
        return None;
    }
    // Roots stand in a secret of their own, called so, or beside the certificate.
    let find = |name: &str| snapshot.credentials.get(namespace, name);
    let kind = match name.strip_suffix(CA_SUFFIX) {
        Some(base) => roots(find(name).filter(|c| c.ca.is_some()).or_else(|| find(base))?)?,
        None => certificate(find(name)?)?,
    };
    Some(tls::Secret { name: resource.to_owned(), r#type: Some(kind) })
}

fn certificate(credential: &Credential) -> Option<tls::secret::Type> {
    Some(tls::secret::Type::TlsCertificate(tls::TlsCertificate {
        certificate_chain: Some(inline(credential.certificate.as_ref()?)),
        private_key: Some(inline(credential.key.as_ref()?)),
        ..Default::default()
    }))
}

fn roots(credential: &Credential) -> Option<tls::secret::Type> {
    Some(tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
        trusted_ca: Some(inline(credential.ca.as_ref()?)),
        crl: credential.crl.as_ref().map(|crl| inline(crl)),
        ..Default::default()
    }))
}

fn inline(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::InlineBytes(bytes.to_vec())), ..Default::default() }
}
