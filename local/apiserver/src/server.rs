//! The server: what it is made of, how it is opened, and how it is reached.

pub(crate) mod kubeconfig;
mod listen;
mod local;
mod options;

pub(crate) use listen::serving_names;
pub use local::LocalService;
pub use options::Options;

use crate::auth::token::Tokens;
use crate::kubelet::Kubelet;
use crate::pki::Pki;
use crate::registry::Registry;
use crate::store::Store;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A readiness check: Ok, or why not.
pub type Check = Arc<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

/// What all request handlers share.
pub struct Core {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) registry: ArcSwap<Registry>,
    pub(crate) pki: Pki,
    pub(crate) tokens: Tokens,
    pub(crate) kubelet: RwLock<Option<Arc<dyn Kubelet>>>,
    pub(crate) checks: RwLock<Vec<(String, Check)>>,
    /// Held while service addresses and ports are chosen and stored, so that no two services get the same.
    pub(crate) allocation: tokio::sync::Mutex<()>,
    pub(crate) openapi: crate::openapi::Cache,
    pub(crate) webhooks: crate::admission::webhook::Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) started: String,
}

/// A Kubernetes API server for one machine.
#[derive(Clone)]
pub struct ApiServer {
    core: Arc<Core>,
}

impl ApiServer {
    /// Opens the data directory (made if missing), loads all objects and starts the server's own controllers (garbage
    /// collection, namespace deletion, service accounts). Must be called in a tokio runtime.
    pub async fn open(options: Options) -> Result<Self> {
        std::fs::create_dir_all(&options.data_dir)
            .with_context(|| format!("cannot create the data directory {}", options.data_dir.display()))?;
        let core = Core {
            store: Store::open(&options.data_dir)?,
            registry: ArcSwap::from_pointee(Registry::builtin()),
            pki: Pki::open(&options.data_dir)?,
            tokens: Tokens::open(&options.data_dir)?,
            kubelet: RwLock::default(),
            checks: RwLock::default(),
            allocation: tokio::sync::Mutex::default(),
            openapi: crate::openapi::Cache::default(),
            webhooks: crate::admission::webhook::Client::default(),
            shutdown: CancellationToken::new(),
            started: crate::object::now(),
            options,
        };
        let core = Arc::new(core);
        crate::crd::load(&core);
        crate::controllers::start(&core).await?;
        Ok(ApiServer { core })
    }

    /// The HTTP API as an axum router, without TLS: callers are who their credentials say, else anonymous.
    pub fn router(&self) -> Router {
        let core = self.core.clone();
        Router::new().fallback(move |request| crate::api::handle(core.clone(), request))
    }

    /// A tower service for `kube::Client::new`: the cluster administrator without TLS or sockets.
    pub fn local_service(&self) -> LocalService {
        LocalService::new(self.core.clone())
    }

    /// Serves HTTPS (HTTP/1.1 and HTTP/2) on a bound listener until [`Self::shutdown`].
    pub async fn serve(&self, listener: std::net::TcpListener) -> Result<()> {
        listen::serve(self.core.clone(), listener).await
    }

    /// A kubeconfig of the cluster administrator for the server at `url` (`https://127.0.0.1:6443`).
    pub fn kubeconfig(&self, url: &str) -> Result<String> {
        kubeconfig::admin(&self.core.pki, url)
    }

    /// The CA certificate that serving certificates and client certificates are signed by, PEM.
    pub fn ca_pem(&self) -> &str {
        self.core.pki.ca_pem()
    }

    /// Sets the node's side of logs, exec, attach and port-forward.
    pub fn set_kubelet(&self, kubelet: Arc<dyn Kubelet>) {
        *self.core.kubelet.write() = Some(kubelet);
    }

    /// Adds a check to `/readyz`.
    pub fn add_readiness(&self, name: impl Into<String>, check: Check) {
        self.core.checks.write().push((name.into(), check));
    }

    /// Ends the listeners, the watches and the controllers.
    pub fn shutdown(&self) {
        self.core.shutdown.cancel();
    }
}
