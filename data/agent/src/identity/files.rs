//! Certificates that are mounted as files: `file-cert:<chain>~<key>` and `file-root:<path>`, as Istio names them.

use meltemi_proto::envoy::config::core::v3::DataSource;
use meltemi_proto::envoy::config::core::v3::data_source::Specifier;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate,
};

/// A secret of a certificate with its key.
pub(super) fn certificate(name: &str, chain: Vec<u8>, key: Vec<u8>) -> Secret {
    let tls = TlsCertificate {
        certificate_chain: Some(inline(chain)),
        private_key: Some(inline(key)),
        ..Default::default()
    };
    Secret { name: name.to_owned(), r#type: Some(Type::TlsCertificate(tls)) }
}

/// A secret of trusted roots.
pub(super) fn roots(name: &str, pem: Vec<u8>) -> Secret {
    let context = CertificateValidationContext { trusted_ca: Some(inline(pem)), ..Default::default() };
    Secret { name: name.to_owned(), r#type: Some(Type::ValidationContext(context)) }
}

fn inline(bytes: Vec<u8>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes)), ..Default::default() }
}

/// Is this the name of a secret in files?
pub(super) fn is_file(name: &str) -> bool {
    name.starts_with("file-cert:") || name.starts_with("file-root:")
}

/// Reads a secret from its files; `None` when they are not (both) there.
pub(super) fn read(name: &str) -> Option<Secret> {
    if let Some(path) = name.strip_prefix("file-root:") {
        return Some(roots(name, load(path)?));
    }
    let (chain, key) = name.strip_prefix("file-cert:")?.split_once('~')?;
    Some(certificate(name, load(chain)?, load(key)?))
}

/// Size limit of a file with certificates, in bytes.
const MAX_FILE: u64 = 1 << 20;

fn load(path: &str) -> Option<Vec<u8>> {
    if std::fs::metadata(path).ok()?.len() > MAX_FILE {
        tracing::warn!(path, "a certificate file larger than {MAX_FILE} bytes is ignored");
        return None;
    }
    std::fs::read(path).ok()
}
