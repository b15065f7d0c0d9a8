//! What exists of the pods right now: for the workers, and for `logs`, `exec`, `attach` and `port-forward`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use kube::Client;
use parking_lot::Mutex;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::container::log::Log;
use crate::container::runtime::{Running, Terminal};
use crate::container::spec::Process;
use crate::images::Images;
use crate::net::{Ipam, PodNetwork};

/// What all pod workers share.
pub struct Node {
    /// The API.
    pub client: Client,
    /// The node's name.
    pub name: String,
    /// What image names mean.
    pub images: Arc<dyn Images>,
    /// Free addresses.
    pub ipam: Ipam,
    /// In memory: volumes and container roots.
    pub run_dir: PathBuf,
    /// On disk: container logs.
    pub log_dir: PathBuf,
    /// On disk: the directories of volumes.
    pub volume_dir: PathBuf,
    /// Our own binary for containers.
    pub binary: PathBuf,
    /// Whether user ids other than root exist.
    pub ids_mapped: bool,
    /// Cores and memory of the machine.
    pub machine: (u64, u64),
    /// ConfigMaps.
    pub config_maps: Cache<ConfigMap>,
    /// Secrets.
    pub secrets: Cache<Secret>,
    /// Claims.
    pub claims: Cache<PersistentVolumeClaim>,
    /// Volumes, which claims are bound to.
    pub volumes: Cache<PersistentVolume>,
    /// Services, for the environment of containers.
    pub services: Cache<Service>,
    /// Pod addresses that services send connections to.
    pub serving: watch::Receiver<Arc<std::collections::BTreeSet<Ipv4Addr>>>,
    /// Cancelled when the node stops: workers then leave their pods as they are.
    pub stop: CancellationToken,
    /// The pods that exist, by uid.
    pub pods: Mutex<HashMap<String, Arc<LivePod>>>,
}

impl Node {
    /// A pod by namespace and name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<LivePod>> {
        self.pods.lock().values().find(|p| p.namespace == namespace && p.name == name).cloned()
    }

    /// Where the logs of a pod's containers are.
    pub fn logs_of(&self, pod: &LivePod) -> PathBuf {
        self.log_dir.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }
}

/// One pod.
pub struct LivePod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its network, while it has one.
    pub network: Mutex<Option<Arc<PodNetwork>>>,
    /// Its containers that were started at least once, by name.
    pub containers: Mutex<HashMap<String, LiveContainer>>,
}

/// One container: its current or last run.
#[derive(Clone)]
pub struct LiveContainer {
    /// The run's process.
    pub running: Running,
    /// What an exec starts from: environment, user, directory.
    pub process: Process,
    /// The run's output.
    pub log: Log,
    /// The output of the run before.
    pub previous: Option<Log>,
    /// Its standard input, if it has one.
    pub stdin: Option<Stdin>,
    /// It goes when the first attached client does.
    pub stdin_once: bool,
}

/// A container's standard input.
#[derive(Clone)]
pub enum Stdin {
    /// A pipe; taken by who closes it.
    Pipe(Arc<tokio::sync::Mutex<Option<pipe::Sender>>>),
    /// Its terminal.
    Terminal(Terminal),
}
