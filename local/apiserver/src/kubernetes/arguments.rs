//! What the programs are started with.

use crate::auth::token::ISSUER;
use crate::pki::{Leaf, Pki, private_dir, write_private};
use crate::server::{Options, kubeconfig, serving_names};
use anyhow::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The controllers whose work our API server does itself.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                           root-ca-certificate-publisher-controller,clusterrole-aggregation-controller";

/// Without this one: our node takes its pods itself, so nothing would ever take the taint of a new node away.
const NOT_ADMITTED_BY: &str = "TaintNodesByCondition";

pub fn etcd(data_dir: &Path, client: u16, peer: u16) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    vec![
        format!("--data-dir={}", data_dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".into(),
    ]
}

/// Keys and certificates in files, as the programs want them.
pub struct Files {
    dir: PathBuf,
}

impl Files {
    pub fn write(pki: &Pki, data_dir: &Path, address: SocketAddr) -> Result<Self> {
        let files = Self { dir: private_dir(data_dir)? };
        let options = Options { extra_ips: vec![address.ip()], ..Options::new(data_dir) };
        let (names, ips) = serving_names(&options);
        files.leaf("server", &pki.serving(&names, &ips)?)?;
        files.leaf("kubelet-client", &pki.client("kube-apiserver-kubelet-client", &[])?)?;
        // Of a private key the server cannot take the public one.
        let key = std::fs::read_to_string(files.dir.join("sa.key"))?;
        write_private(&files.dir.join("sa.pub"), &rcgen::KeyPair::from_pem(&key)?.public_key_pem())?;
        let admin = kubeconfig::admin(pki, &format!("https://{address}"))?;
        write_private(&files.dir.join("admin.kubeconfig"), &admin)?;
        Ok(files)
    }

    fn leaf(&self, name: &str, leaf: &Leaf) -> Result<()> {
        write_private(&self.dir.join(format!("{name}.crt")), &leaf.cert_pem)?;
        write_private(&self.dir.join(format!("{name}.key")), &leaf.key_pem)
    }

    fn file(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.dir.join(name).display())
    }

    pub fn api_server(&self, options: &Options, address: SocketAddr, etcd: u16) -> Vec<String> {
        // Nobody reaches the service of an API server that pods cannot reach; its address only must not be a loopback's.
        let advertised = options.advertise.map_or(options.kubernetes_ip().into(), |(ip, _)| ip);
        vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--bind-address={}", address.ip()),
            format!("--secure-port={}", address.port()),
            format!("--advertise-address={advertised}"),
            format!("--service-cluster-ip-range={}/{}", options.service_network, options.service_prefix),
            self.file("client-ca-file", "ca.crt"),
            self.file("tls-cert-file", "server.crt"),
            self.file("tls-private-key-file", "server.key"),
            self.file("service-account-key-file", "sa.pub"),
            self.file("service-account-signing-key-file", "sa.key"),
            format!("--service-account-issuer={ISSUER}"),
            self.file("kubelet-certificate-authority", "ca.crt"),
            self.file("kubelet-client-certificate", "kubelet-client.crt"),
            self.file("kubelet-client-key", "kubelet-client.key"),
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--authorization-mode=RBAC".into(),
            "--allow-privileged=true".into(),
            format!("--disable-admission-plugins={NOT_ADMITTED_BY}"),
        ]
    }

    pub fn controller_manager(&self) -> Vec<String> {
        vec![
            self.file("kubeconfig", "admin.kubeconfig"),
            self.file("root-ca-file", "ca.crt"),
            format!("--controllers={CONTROLLERS}"),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ]
    }
}
