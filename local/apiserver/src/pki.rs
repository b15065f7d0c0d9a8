//! The cluster's own certificates: a CA, the serving certificate and the administrator's client certificate.
//!
//! They are made at first start and kept in `pki/` of the data directory, readable by the owner only.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ten years: a local cluster outlives nobody's patience, and its CA cannot be replaced under running pods.
const CA_DAYS: i64 = 3650;
/// Leaves are made anew at every start.
const LEAF_DAYS: i64 = 365;

/// Keys and certificates of the API server.
pub struct Pki {
    ca_pem: String,
    ca_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Leaf {
    /// The certificate.
    pub cert_pem: String,
    /// The private key (PKCS#8).
    pub key_pem: String,
}

impl Pki {
    /// Loads the CA from `pki/` in the data directory, or makes it.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let dir = private_dir(data_dir)?;
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !cert_path.exists() || !key_path.exists() {
            let key = KeyPair::generate()?;
            let cert = ca_params()?.self_signed(&key)?;
            write_private(&key_path, &key.serialize_pem())?;
            write_private(&cert_path, &cert.pem())?;
        }
        let read =
            |p: &Path| std::fs::read_to_string(p).with_context(|| format!("cannot read {}", p.display()));
        let (ca_pem, key_pem) = (read(&cert_path)?, read(&key_path)?);
        let key = KeyPair::from_pem(&key_pem)
            .with_context(|| format!("{} holds no private key", key_path.display()))?;
        let ca_der = one_certificate(&ca_pem).with_context(|| format!("{}", cert_path.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key)?;
        Ok(Pki { ca_pem, ca_der, issuer })
    }

    /// The CA certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A client certificate: `user` as common name, `groups` as organizations.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Leaf> {
        let mut params = leaf_params(user)?;
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// A serving certificate for names and addresses.
    pub fn serving(&self, dns: &[String], ips: &[IpAddr]) -> Result<Leaf> {
        let mut params = leaf_params("kube-apiserver")?;
        for name in dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Result<Leaf> {
        let key = KeyPair::generate()?;
        let cert: Certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// TLS for the server: client certificates of our CA are verified but not demanded.
    pub fn server_config(&self, leaf: &Leaf) -> Result<Arc<rustls::ServerConfig>> {
        let mut config = self.verifying(leaf, ClientCertVerifierBuilder::allow_unauthenticated)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// TLS for a kubelet: who shows no client certificate of our CA is refused.
    pub fn kubelet_config(&self, leaf: &Leaf) -> Result<Arc<rustls::ServerConfig>> {
        Ok(Arc::new(self.verifying(leaf, std::convert::identity)?))
    }

    fn verifying(
        &self,
        leaf: &Leaf,
        demand: fn(ClientCertVerifierBuilder) -> ClientCertVerifierBuilder,
    ) -> Result<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(self.roots()?);
        let verifier =
            demand(WebPkiClientVerifier::builder_with_provider(roots, provider.clone())).build()?;
        let key = KeyPair::from_pem(&leaf.key_pem)?.serialize_der();
        Ok(rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![one_certificate(&leaf.cert_pem)?],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)),
            )?)
    }

    /// TLS for a client without a certificate that trusts our CA.
    pub fn client_config(&self) -> Result<Arc<rustls::ClientConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    pub(crate) fn roots(&self) -> Result<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca_der.clone())?;
        Ok(roots)
    }
}

fn ca_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, CA_DAYS)?;
    Ok(params)
}

fn leaf_params(common_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    valid_for(&mut params, LEAF_DAYS)?;
    Ok(params)
}

fn valid_for(params: &mut CertificateParams, days: i64) -> Result<()> {
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(86_400);
    // A day of slack for clocks that differ between machine and container.
    params.not_before = (now - day).into();
    params.not_after = (now + day * u32::try_from(days)?).into();
    Ok(())
}

fn one_certificate(pem: &str) -> Result<CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| anyhow::anyhow!("no certificate: {e:?}"))
}

/// `pki/` in the data directory, made with mode 0700.
pub fn private_dir(data_dir: &Path) -> Result<PathBuf> {
    let dir = data_dir.join("pki");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&part).with_context(|| format!("cannot write {}", part.display()))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}
