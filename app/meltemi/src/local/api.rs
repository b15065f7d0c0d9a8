//! The cluster's API server: ours, or Kubernetes' own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use meltemi_apiserver::kubelet::Kubelet;
use meltemi_apiserver::kubernetes::Kubernetes;
use meltemi_apiserver::{ApiServer, Options};
use meltemi_node::net;
use tokio::net::{TcpListener, TcpStream};

/// The API server's port on the address of the `kubernetes` service, which the node holds itself.
const SERVICE_PORT: u16 = 443;

/// A running API server, which pods reach at the `kubernetes` service and the host at a port of its own.
pub enum Api {
    /// Ours, in this process.
    Own(ApiServer),
    /// Kubernetes' own, in processes of its own.
    Kubernetes(Box<Kubernetes>),
}

impl Api {
    /// Opens ours, for the host on `listener`.
    ///
    /// # Errors
    /// When the data directory cannot be used or the cluster's port cannot be had.
    pub async fn own(root: &Path, listener: TcpListener) -> anyhow::Result<Self> {
        let server = ApiServer::open(options(root.join("apiserver"))).await?;
        let within =
            std::net::TcpListener::bind((net::API_IP, SERVICE_PORT)).context("the cluster's API port")?;
        for listener in [listener.into_std()?, within] {
            let server = server.clone();
            tokio::spawn(async move {
                if let Err(error) = server.serve(listener).await {
                    tracing::error!("the API server's listener ended: {error:#}");
                }
            });
        }
        Ok(Self::Own(server))
    }

    /// Starts Kubernetes' own from the programs in `built`, for the host on `listener`.
    ///
    /// # Errors
    /// When a program cannot be run or does not become ready.
    pub async fn kubernetes(built: &Path, root: &Path, listener: TcpListener) -> anyhow::Result<Self> {
        let address = SocketAddr::from((net::API_IP, SERVICE_PORT));
        let server = Kubernetes::start(built, &options(root.join("kubernetes")), address).await?;
        tokio::spawn(forward(listener, address));
        Ok(Self::Kubernetes(Box::new(server)))
    }

    /// The administrator's kubeconfig for the server at `url`.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn kubeconfig(&self, url: &str) -> anyhow::Result<String> {
        match self {
            Self::Own(server) => server.kubeconfig(url),
            Self::Kubernetes(server) => server.kubeconfig(url),
        }
    }

    /// A client that is the cluster's administrator.
    ///
    /// # Errors
    /// When no client can be made.
    pub async fn client(&self) -> anyhow::Result<Client> {
        match self {
            Self::Own(server) => Ok(Client::new(server.local_service(), "default")),
            Self::Kubernetes(server) => {
                let text = server.kubeconfig(&format!("https://{}", server.address()))?;
                let (kubeconfig, defaults) = (Kubeconfig::from_yaml(&text)?, KubeConfigOptions::default());
                let config = kube::Config::from_custom_kubeconfig(kubeconfig, &defaults).await?;
                Ok(Client::try_from(config)?)
            }
        }
    }

    /// Gives it the node's side of logs, exec, attach and port-forward.
    ///
    /// # Errors
    /// When the kubelet's port cannot be had.
    pub async fn set_kubelet(&self, kubelet: Arc<dyn Kubelet>) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.set_kubelet(kubelet),
            Self::Kubernetes(server) => server.serve_kubelet(net::NODE_IP.into(), kubelet).await?,
        }
        Ok(())
    }

    /// Ends it.
    pub fn shutdown(&self) {
        match self {
            Self::Own(server) => server.shutdown(),
            // Its programs end when it is dropped.
            Self::Kubernetes(_) => {}
        }
    }
}

fn options(data_dir: std::path::PathBuf) -> Options {
    let mut options = Options::new(data_dir);
    options.advertise = Some((net::API_IP.into(), SERVICE_PORT));
    options
}

/// Carries the host's connections to a server that listens within the cluster's network only.
async fn forward(listener: TcpListener, to: SocketAddr) {
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(to).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
