//! Kubernetes' own API server in place of ours: etcd, kube-apiserver and kube-controller-manager, as somebody built them.
//!
//! It is what ours is compared with: the same node, controllers and mesh run on either. Of the controller manager only those
//! controllers run whose work our API server does itself; the others are the node's.

mod arguments;
mod programs;
mod ready;

use crate::auth::token::Tokens;
use crate::kubelet::Kubelet;
use crate::pki::Pki;
use crate::server::{Options, kubeconfig};
use anyhow::{Context, Result};
use arguments::Files;
use programs::Programs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The port of a kubelet, as the Node object says it.
pub const KUBELET_PORT: u16 = 10250;

/// The running programs. Dropping it kills them.
pub struct Kubernetes {
    pki: Pki,
    address: SocketAddr,
    _programs: Programs,
}

impl Kubernetes {
    /// Starts the programs of the directory `built` on a data directory, the API at `address`, and waits until it is ready.
    ///
    /// # Errors
    /// When a program is missing, ends, or does not become ready; the message names its log.
    pub async fn start(built: &Path, options: &Options, address: SocketAddr) -> Result<Self> {
        std::fs::create_dir_all(&options.data_dir)
            .with_context(|| format!("cannot make {}", options.data_dir.display()))?;
        let pki = Pki::open(&options.data_dir)?;
        // Makes the key that service-account tokens are signed with.
        Tokens::open(&options.data_dir)?;
        let files = Files::write(&pki, &options.data_dir, address)?;
        let mut programs = Programs::new(built, &options.data_dir);
        let (client, peer) = (programs::free_port()?, programs::free_port()?);
        programs.start("etcd", &arguments::etcd(&options.data_dir, client, peer))?;
        programs.start("kube-apiserver", &files.api_server(options, address, client))?;
        ready::wait(&pki, address, &mut programs).await?;
        programs.start("kube-controller-manager", &files.controller_manager())?;
        Ok(Self { pki, address, _programs: programs })
    }

    /// A kubeconfig of the cluster administrator for the server at `url`.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn kubeconfig(&self, url: &str) -> Result<String> {
        kubeconfig::admin(&self.pki, url)
    }

    /// Where the API is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a kubelet's API at the node's address, for this API server alone, until the task is dropped.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn serve_kubelet(&self, node: IpAddr, kubelet: Arc<dyn Kubelet>) -> Result<()> {
        let listener = TcpListener::bind((node, KUBELET_PORT)).await.context("the kubelet's port")?;
        let tls = self.pki.kubelet_config(&self.pki.serving(&[], &[node])?)?;
        tokio::spawn(crate::streaming::kubelet::serve(listener, tls, kubelet));
        Ok(())
    }
}
