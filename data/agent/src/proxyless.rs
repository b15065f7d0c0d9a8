//! No proxy: gRPC in the application is its own ("proxyless"). The agent writes gRPC's bootstrap and keeps the
//! certificates in files; configuration passes through [`relay`](crate::relay) as it does for a proxy.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meltemi_process::readiness::Condition;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3::Extension;
use meltemi_proto::ports;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::{info, warn};

use crate::data_plane::{DataPlane, StartOptions, Starter};
use crate::identity::Workload;
use crate::istiod::Failure;
use crate::settings::Settings;

/// Where the application finds the control plane. On a Unix socket gRPC in C, Python and others name the socket's path as the
/// authority, in a form (`etc%2Fistio…`) that no HTTP/2 server has to take, and ours does not.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ports::XDS_PLAIN);

/// Names that gRPC servers ask for their listeners by; `%s` is the address.
const SERVER_LISTENERS: &str = "xds.istio.io/grpc/lds/inbound/%s";
/// How often gRPC looks at the certificate files.
const REFRESH: &str = "900s";
/// Where certificates are unless `OUTPUT_CERTS` says otherwise.
const DEFAULT_CERTS: &str = "/var/lib/istio/data";

const CHAIN: &str = "cert-chain.pem";
const KEY: &str = "key.pem";
const ROOT: &str = "root-cert.pem";

/// gRPC's bootstrap: where the control plane is, who we are, where the certificates are.
///
/// # Errors
/// When the working directory is gone.
pub fn grpc_bootstrap(settings: &Settings) -> io::Result<Value> {
    let certs = settings.paths.output_certs.as_deref().unwrap_or(Path::new(DEFAULT_CERTS));
    let certs = std::path::absolute(certs)?;
    Ok(json!({
        "xds_servers": [{
            "server_uri": ADDRESS.to_string(),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": settings.node.to_string(),
            "cluster": settings.service_cluster,
            // The control plane knows it from the pod; gRPC for JavaScript reads no bootstrap without it.
            "locality": {},
            "metadata": settings.metadata,
        },
        "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": {
            "certificate_file": certs.join(CHAIN),
            "private_key_file": certs.join(KEY),
            "ca_certificate_file": certs.join(ROOT),
            "refresh_interval": REFRESH,
        }}},
        "server_listener_resource_name_template": SERVER_LISTENERS,
    }))
}

/// The data plane that is none.
#[derive(Clone, Debug)]
pub struct Proxyless {
    path: PathBuf,
    bootstrap: String,
}

impl Proxyless {
    /// Works gRPC's bootstrap out.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let bootstrap = serde_json::to_string_pretty(&grpc_bootstrap(settings)?)?;
        Ok(Self { path: settings.paths.grpc_bootstrap.clone(), bootstrap })
    }
}

#[tonic::async_trait]
impl Starter for Proxyless {
    fn extensions(&self) -> Vec<Extension> {
        Vec::new()
    }

    async fn start(&self, _: Bootstrap, _: StartOptions) -> Result<Arc<dyn DataPlane>, Failure> {
        write(&self.path, &self.bootstrap).map_err(|error| format!("{}: {error}", self.path.display()))?;
        info!(path = %self.path.display(), "no proxy: gRPC's bootstrap is written");
        Ok(Arc::new(Nothing))
    }
}

struct Nothing;

#[tonic::async_trait]
impl DataPlane for Nothing {
    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn drain(&self) {}

    async fn active_connections(&self) -> Option<u64> {
        None
    }

    async fn shutdown(&self) {}

    async fn ended(&self) -> String {
        std::future::pending().await
    }
}

/// Writes every new certificate to `directory`, until there will be no more.
pub async fn keep_written(
    directory: PathBuf,
    mut workload: watch::Receiver<Option<Workload>>,
    condition: Condition,
) {
    condition.not_ready("not written yet");
    while workload.wait_for(Option::is_some).await.is_ok() {
        let current = workload.borrow_and_update().clone();
        match current.map(|current| write_all(&directory, &current)) {
            Some(Err(error)) => {
                warn!(directory = %directory.display(), %error, "certificates cannot be written");
                condition.not_ready(format!("{}: {error}", directory.display()));
            }
            _ => condition.ready(),
        }
        if workload.changed().await.is_err() {
            return;
        }
    }
}

/// The key before the chain: who reads a new chain finds its key.
fn write_all(directory: &Path, workload: &Workload) -> io::Result<()> {
    write(&directory.join(ROOT), &workload.root_pem)?;
    write(&directory.join(KEY), &workload.key_pem)?;
    write(&directory.join(CHAIN), &workload.chain_pem)
}

/// Replaces a file whole. The application may run as any user; nobody but the pod's containers sees the volume.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o644))?;
    std::fs::rename(new, path)
}

/// Listens where the bootstrap leads the application: in the pod, and nowhere else.
///
/// # Errors
/// When the port is taken.
pub fn listen() -> Result<TcpListenerStream, Failure> {
    let bound = std::net::TcpListener::bind(ADDRESS).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    Ok(TcpListenerStream::new(bound.map_err(|error| format!("{ADDRESS}: {error}"))?))
}

/// Lets processes of other users connect to a socket.
///
/// # Errors
/// When its mode cannot be changed.
pub fn open_to_application(socket: &Path) -> io::Result<()> {
    std::fs::set_permissions(socket, Permissions::from_mode(0o666))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use meltemi_process::readiness::Readiness;
    use meltemi_proto::node::NodeKind;

    use super::*;
    use crate::settings::tests::{args, reviews};

    #[test]
    fn grpc_finds_the_agent_its_name_and_its_certificates() {
        let mut env = reviews();
        env.vars.insert("ISTIO_META_GENERATOR".into(), "grpc".into());
        env.vars.insert("OUTPUT_CERTS".into(), "/certs".into());
        let settings = Settings::new(&args(NodeKind::Sidecar), &env).unwrap();
        assert!(settings.proxyless());
        let bootstrap = grpc_bootstrap(&settings).unwrap();
        assert_eq!(bootstrap["xds_servers"][0]["server_uri"], "127.0.0.1:15010");
        assert_eq!(bootstrap["node"]["id"], settings.node.to_string());
        assert_eq!(bootstrap["node"]["metadata"]["GENERATOR"], "grpc");
        assert!(bootstrap["node"]["locality"].is_object());
        let files = &bootstrap["certificate_providers"]["default"]["config"];
        assert_eq!(files["certificate_file"], "/certs/cert-chain.pem");
    }

    #[tokio::test]
    async fn every_certificate_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (current, workload) = watch::channel(None);
        let readiness = Readiness::new();
        let task = keep_written(directory.path().to_owned(), workload, readiness.condition("files"));
        let task = tokio::spawn(task);
        for text in ["one", "two"] {
            let pem = |what: &str| format!("{what} {text}");
            let now = SystemTime::now();
            current.send_replace(Some(Workload {
                chain_pem: pem("chain"),
                key_pem: pem("key"),
                root_pem: pem("root"),
                not_before: now,
                not_after: now,
            }));
            let chain = directory.path().join(CHAIN);
            while std::fs::read_to_string(&chain).unwrap_or_default() != pem("chain") {
                tokio::task::yield_now().await;
            }
            assert_eq!(std::fs::read_to_string(directory.path().join(KEY)).unwrap(), pem("key"));
        }
        drop(current);
        task.await.unwrap();
        assert!(readiness.is_ready());
    }
}
