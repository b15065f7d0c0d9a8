//! Certificates and trust: where they come from and the cells they stand in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::{ConfigSource, DataSource, data_source::Specifier};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{
    SdsSecretConfig, Secret as Proto, TlsCertificate, secret,
};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::info::certificate_info;
use super::provider;
use super::validate::Validation;
use crate::base::reject::{At, Compiled, Reject, required};
use crate::base::slot::{Slot, Slots};
use crate::telemetry::info::CertificateInfo;

/// Largest file or inline value, in bytes.
const LARGEST: u64 = 4 << 20;

/// A secret that SDS or the configuration delivered.
#[derive(Debug)]
pub enum Secret {
    /// A certificate with its key.
    Certificate(Arc<Certificate>),
    /// Whom to trust.
    Validation(Arc<Validation>),
}

/// A certificate chain with its private key, ready to sign.
#[derive(Debug)]
pub struct Certificate {
    /// For rustls.
    pub key: Arc<CertifiedKey>,
    /// What is said of it in logs and `/certs`.
    pub info: Arc<CertificateInfo>,
}

/// All secrets by name, and where each is to be asked for.
#[derive(Debug, Default)]
pub struct Secrets {
    slots: Slots<Secret>,
    sources: Mutex<BTreeMap<Arc<str>, ConfigSource>>,
}

impl Secrets {
    /// The cell a reference in the configuration means.
    pub fn reference(&self, proto: &SdsSecretConfig) -> Compiled<Arc<Slot<Secret>>> {
        if proto.name.is_empty() {
            return Err(Reject::new("name", "is empty"));
        }
        let slot = self.slots.slot(&proto.name);
        if let Some(source) = &proto.sds_config {
            self.sources.lock().insert(slot.name().clone(), source.clone());
        }
        Ok(slot)
    }

    /// The cell of a secret the configuration holds itself.
    pub fn slot(&self, name: &str) -> Arc<Slot<Secret>> {
        self.slots.slot(name)
    }

    /// The cell of that name, if something refers to it.
    pub fn existing(&self, name: &str) -> Option<Arc<Slot<Secret>>> {
        self.slots.existing(name)
    }

    /// The secrets something refers to that have to be fetched, with their sources.
    pub fn wanted(&self) -> Vec<(Arc<str>, ConfigSource)> {
        let mut sources = self.sources.lock();
        sources.retain(|name, _| self.slots.existing(name).is_some());
        sources.iter().map(|(name, source)| (name.clone(), source.clone())).collect()
    }

    /// The secrets somebody refers to, for the admin pages.
    pub fn all(&self) -> Vec<Arc<Slot<Secret>>> {
        self.slots.names().iter().filter_map(|name| self.slots.existing(name)).collect()
    }
}

impl Secret {
    /// Compiles a secret as SDS delivers it.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        match required("type", &proto.r#type)? {
            secret::Type::TlsCertificate(cert) => {
                Ok(Self::Certificate(Arc::new(Certificate::compile(cert).at("tls_certificate")?)))
            }
            secret::Type::ValidationContext(context) => {
                Ok(Self::Validation(Arc::new(Validation::compile(context).at("validation_context")?)))
            }
            secret::Type::SessionTicketKeys(_) => {
                Err(Reject::new("session_ticket_keys", "shared ticket keys are not supported"))
            }
            secret::Type::GenericSecret(_) => Err(Reject::new("generic_secret", "nothing here uses it")),
        }
    }
}

impl Certificate {
    /// Compiles chain and key; they must belong together.
    pub fn compile(proto: &TlsCertificate) -> Compiled<Self> {
        let chain = read("certificate_chain", required("certificate_chain", &proto.certificate_chain)?)?;
        let key = read("private_key", required("private_key", &proto.private_key)?)?;
        let chain = certificates("certificate_chain", &chain)?;
        let leaf =
            chain.first().ok_or_else(|| Reject::new("certificate_chain", "holds no certificate (PEM)"))?;
        let info = certificate_info(leaf).ok_or_else(|| Reject::new("certificate_chain", "is not X.509"))?;
        // The reason is not repeated: it might quote the key.
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| Reject::new("private_key", "is not a PEM private key (PKCS#8, PKCS#1 or SEC1)"))?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| Reject::new("private_key", "is of a kind that is not supported"))?;
        let certified = CertifiedKey::new(chain, key);
        certified
            .keys_match()
            .map_err(|_| Reject::new("private_key", "does not belong to the certificate"))?;
        Ok(Self { key: Arc::new(certified), info: Arc::new(info) })
    }
}

/// All certificates of a PEM text.
pub(super) fn certificates(field: &str, pem: &[u8]) -> Compiled<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Reject::new(field, format!("is not PEM: {error}")))
}

/// The bytes of a data source: inline, a file, or an environment variable.
pub fn read(field: &str, source: &DataSource) -> Compiled<Vec<u8>> {
    match required(field, &source.specifier)? {
        Specifier::InlineBytes(bytes) => Ok(bytes.clone()),
        Specifier::InlineString(text) => Ok(text.clone().into_bytes()),
        Specifier::Filename(path) => read_file(field, Path::new(path)),
        Specifier::EnvironmentVariable(name) => std::env::var(name)
            .map(String::into_bytes)
            .map_err(|_| Reject::new(field, format!("environment variable {name} is not set"))),
    }
}

fn read_file(field: &str, path: &Path) -> Compiled<Vec<u8>> {
    let failed =
        |error: std::io::Error| Reject::new(field, format!("cannot read {}: {error}", path.display()));
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST {
        return Err(Reject::new(field, format!("{} is larger than {LARGEST} bytes", path.display())));
    }
    std::fs::read(path).map_err(failed)
}
