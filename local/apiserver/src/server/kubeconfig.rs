//! The administrator's kubeconfig.

use crate::auth::MASTERS;
use crate::pki::Pki;
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;

/// A self-contained kubeconfig: CA, client certificate and key are embedded.
pub fn admin(pki: &Pki, url: &str) -> Result<String> {
    let leaf = pki.client("kubernetes-admin", &[MASTERS])?;
    Ok(format!(
        "apiVersion: v1
kind: Config
current-context: meltemi
clusters:
- name: meltemi
  cluster:
    server: {url}
    certificate-authority-data: {ca}
contexts:
- name: meltemi
  context:
    cluster: meltemi
    user: meltemi
users:
- name: meltemi
  user:
    client-certificate-data: {cert}
    client-key-data: {key}
",
        ca = B64.encode(pki.ca_pem()),
        cert = B64.encode(leaf.cert_pem),
        key = B64.encode(leaf.key_pem),
    ))
}
