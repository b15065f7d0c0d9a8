//! Everything of the node together: what `meltemi up` starts beside the API server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use meltemi_apiserver::kubelet::Kubelet;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::controllers;
use crate::dns::server::Server;
use crate::dns::upstream::Upstream;
use crate::dns::zone::Zone;
use crate::host_ports::HostPorts;
use crate::images::Images;
use crate::launch;
use crate::net::{DNS_IP, Ipam, pod_cidr};
use crate::pod::live::Node;
use crate::pod::roster;
use crate::pod::streams::Streams;
use crate::proxy::host::{Forward, HostForwards};
use crate::proxy::{egress, nft, program, run as proxy_run, table::Table};
use crate::sys;

/// The name of the one node.
pub const NODE_NAME: &str = "meltemi";

/// What a cluster is made of.
pub struct ClusterOptions {
    /// A client of the API server, as cluster administrator.
    pub client: Client,
    /// What image names mean.
    pub images: Arc<dyn Images>,
    /// Sockets in the host's network.
    pub host: HostPorts,
    /// The data directory that was given to `launch::enter`.
    pub data_dir: PathBuf,
}

/// A running node with its controllers; dropping it stops the tasks but not the containers: see [`Cluster::shutdown`].
pub struct Cluster {
    node: Arc<Node>,
    forwards: watch::Receiver<Arc<Vec<Forward>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Starts it. When it returns, rules, names and controllers are in place and pods are being started.
    pub async fn start(options: ClusterOptions) -> anyhow::Result<Self> {
        let ClusterOptions { client, images, host, data_dir } = options;
        nft::apply(&program::render(&Table::default())).await.context("the service proxy cannot work")?;
        controllers::node::register(&client, NODE_NAME).await.context("the node could not be registered")?;
        controllers::storage::register(&client).await.context("the storage class could not be made")?;
        let (zone, zones) = watch::channel(Arc::new(Zone::default()));
        let (serving, served) = watch::channel(Arc::new(BTreeSet::new()));
        let (report, forwards) = watch::channel(Arc::new(Vec::new()));
        let services = Cache::<Service>::start(client.clone());
        let slices = Cache::<EndpointSlice>::start(client.clone());
        let node = node(&client, images, data_dir, services.clone(), served)?;
        let mut tasks = Vec::new();
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let dns = Server::new(zones, Upstream::new(host.clone(), &resolv_conf));
        tasks.push(forever("the DNS server", dns.serve(SocketAddr::from((DNS_IP, 53)))));
        tasks.push(forever("the egress forwarder", egress::serve(host.clone())));
        services.ready().await;
        node.config_maps.ready().await;
        node.secrets.ready().await;
        node.claims.ready().await;
        node.volumes.ready().await;
        let outputs = proxy_run::Outputs { zone, serving };
        let host_forwards = HostForwards::new(host, client.clone(), report);
        tasks.push(tokio::spawn(proxy_run::run(services, slices, outputs, host_forwards)));
        tasks.push(tokio::spawn(roster::run(node.clone(), controllers::node::labels(NODE_NAME))));
        tasks.extend(controllers::start(&client, NODE_NAME, node.volume_dir.clone()));
        Ok(Self { node, forwards, tasks })
    }

    /// The node's side of logs, exec, attach and port-forward, for the API server.
    pub fn kubelet(&self) -> Arc<dyn Kubelet> {
        Arc::new(Streams::new(self.node.clone()))
    }

    /// The services that can be reached from the host, now.
    pub fn forwards(&self) -> Vec<Forward> {
        self.forwards.borrow().to_vec()
    }

    /// Changes whenever [`Cluster::forwards`] does.
    pub fn watch_forwards(&self) -> watch::Receiver<Arc<Vec<Forward>>> {
        self.forwards.clone()
    }

    /// Where the host can reach a port (number or name) of a service: `127.0.0.1:…`, waiting until it can.
    pub async fn forward_of(&self, namespace: &str, service: &str, port: &str) -> Option<SocketAddr> {
        let mut forwards = self.forwards.clone();
        let fits = |f: &&Forward| {
            f.namespace == namespace
                && f.service == service
                && (f.port_name.as_deref() == Some(port) || f.port.to_string() == port)
        };
        let all = forwards.wait_for(|all| all.iter().any(|f| fits(&f))).await.ok()?;
        // The load balancer's port is preferred to the node port.
        let mut fitting: Vec<&Forward> = all.iter().filter(fits).collect();
        fitting.sort_by_key(|f| f.node_port);
        fitting.first().map(|f| SocketAddr::from(([127, 0, 0, 1], f.host_port)))
    }

    /// Ends: asks every container to stop, waits at most `patience`, and stops all tasks. The API's objects stay, so
    /// that the next start brings the same pods up again.
    pub async fn shutdown(self, patience: Duration) {
        self.node.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
        let running: Vec<_> = {
            let pods = self.node.pods.lock();
            let containers =
                pods.values().flat_map(|p| p.containers.lock().values().cloned().collect::<Vec<_>>());
            containers.map(|c| c.running).collect()
        };
        running.iter().for_each(|r| r.signal(nix::sys::signal::Signal::SIGTERM));
        let ended = futures_util::future::join_all(running.iter().map(|r| r.wait()));
        if tokio::time::timeout(patience, ended).await.is_err() {
            running.iter().for_each(|r| r.signal(nix::sys::signal::Signal::SIGKILL));
        }
    }
}

fn node(
    client: &Client,
    images: Arc<dyn Images>,
    data_dir: PathBuf,
    services: Cache<Service>,
    serving: watch::Receiver<Arc<BTreeSet<std::net::Ipv4Addr>>>,
) -> anyhow::Result<Arc<Node>> {
    let run_dir = data_dir.join("run");
    let volume_dir = data_dir.join("volumes");
    let log_dir = data_dir.join("logs");
    std::fs::create_dir_all(&log_dir)
        .and_then(|()| std::fs::set_permissions(&log_dir, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot make {}", log_dir.display()))?;
    Ok(Arc::new(Node {
        name: NODE_NAME.into(),
        images,
        ipam: Ipam::new(pod_cidr()),
        binary: run_dir.join(launch::BINARY),
        run_dir,
        log_dir,
        volume_dir,
        ids_mapped: sys::is_mapped(1337),
        machine: controllers::node::machine(),
        config_maps: Cache::<ConfigMap>::start(client.clone()),
        secrets: Cache::<Secret>::start(client.clone()),
        claims: Cache::<PersistentVolumeClaim>::start(client.clone()),
        volumes: Cache::<PersistentVolume>::start(client.clone()),
        services,
        serving,
        stop: CancellationToken::new(),
        pods: Default::default(),
        client: client.clone(),
    }))
}

fn forever(
    what: &'static str,
    task: impl Future<Output = std::io::Result<()>> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = task.await {
            tracing::error!(%error, "{what} ended");
        }
    })
}
