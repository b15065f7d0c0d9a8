//! istiod as a whole: what runs, in which order it starts and ends.

mod listeners;
mod servers;

pub use listeners::Listeners;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use meltemi_identity::authority::Authority;
use meltemi_mesh::{Settings as MeshSettings, World};
use meltemi_process::readiness::Readiness;
use meltemi_process::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::TaskTracker;

use crate::authenticate::Authenticator;
use crate::ca::{self, RootConfigMaps};
use crate::debug::Debug;
use crate::hub::{Debounce, Handle, Hub, Inputs, News};
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::options::Options;
use crate::resources::Cache;
use crate::sources::{self, Outlet, Settings};
use crate::status::StatusWriter;
use crate::token::{KubeTokens, ReviewTokens};

/// Proxies get this long to hear that they must go elsewhere.
const GRACE: Duration = Duration::from_secs(3);
/// Between attempts to reach an API server that is not there yet.
const RETRY: Duration = Duration::from_millis(100);

/// Runs istiod until `shutdown`.
///
/// # Errors
/// When a port is taken, there is no way to the API server, or the root of the authority cannot be used.
pub async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = connect(&options).await?;
    run_with(options, client, shutdown).await
}

/// [`run`] with a ready client.
///
/// # Errors
/// As [`run`].
pub async fn run_with(options: Options, client: kube::Client, shutdown: Shutdown) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&options).await?;
    let tasks = TaskTracker::new();
    let istiod = Istiod::start(options, client, listeners, &tasks, &shutdown).await?;
    shutdown.requested().await;
    tracing::info!("closing {} connections", istiod.hub.connections.list().len());
    istiod.hub.connections.list().iter().for_each(|connection| connection.close());
    tasks.close();
    // A proxy that does not let go is cut off with the process.
    let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
    Ok(())
}

async fn connect(options: &Options) -> anyhow::Result<kube::Client> {
    let config = match &options.kubeconfig {
        Some(path) => {
            let file = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("--kubeconfig {}: cannot be read", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
                .await
                .with_context(|| format!("--kubeconfig {}", path.display()))?
        }
        None => kube::Config::infer().await.context(
            "no way to the API server: neither KUBECONFIG nor the files of a pod's service account are usable",
        )?,
    };
    kube::Client::try_from(config).context("the API server's client cannot be made")
}

/// What the servers share.
pub(crate) struct Istiod {
    pub(crate) options: Options,
    pub(crate) client: kube::Client,
    pub(crate) hub: Handle,
    pub(crate) settings: Arc<Settings>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Arc<dyn ReviewTokens>,
    pub(crate) trust_domain: String,
    pub(crate) cache: Arc<Cache>,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) objects: Objects,
}

impl Istiod {
    /// Starts everything; returns once all servers listen. Readiness comes with the first snapshot.
    pub(crate) async fn start(
        options: Options,
        client: kube::Client,
        listeners: Listeners,
        tasks: &TaskTracker,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let metrics: Arc<Metrics> = Arc::default();
        let readiness = Readiness::new();
        let synced = readiness.condition("caches");
        synced.not_ready("the cluster has not been read yet");
        let settings = Settings::new(&options);
        load_settings(&options, &client, &settings, shutdown).await?;
        let (hub, news) = gather(&options, &client, &settings, &metrics, tasks, shutdown);
        let trust_domain = settings.mesh_config().trust_domain;
        settings.certify(&trust_domain);
        let authority = load_authority(&options, &client, &trust_domain, shutdown).await?;
        note_expiry(&authority, &metrics);
        let istiod = Self {
            tokens: Arc::new(KubeTokens::new(client.clone())),
            trust_domain,
            authority: Arc::new(authority),
            cache: Arc::default(),
            hub: hub.0,
            objects: hub.1,
            options,
            client,
            settings,
            readiness,
            metrics,
        };
        istiod.serve(listeners, tasks, shutdown)?;
        istiod.follow(news, tasks, shutdown);
        let hub = istiod.hub.clone();
        tasks.spawn(async move {
            if hub.first().await.is_some() {
                synced.ready();
                tracing::info!("ready: the cluster has been read");
            }
        });
        Ok(istiod)
    }

    /// Starts what writes to the cluster.
    fn follow(&self, news: Followers, tasks: &TaskTracker, shutdown: &Shutdown) {
        let Followers { status, namespaces } = news;
        let writer = StatusWriter::new(self.client.clone(), self.objects.clone(), self.metrics.clone());
        tasks.spawn(writer.run(status, shutdown.token()));
        let roots = RootConfigMaps::new(self.client.clone(), &self.authority.root_pem());
        tasks.spawn(roots.clone().guard(shutdown.token()));
        tasks.spawn(keep_roots(roots, namespaces, shutdown.clone()));
    }

    pub(crate) fn authenticator(&self) -> Authenticator {
        Authenticator::new(self.tokens.clone(), &self.trust_domain)
    }

    pub(crate) fn debug(&self) -> Debug {
        Debug {
            hub: self.hub.clone(),
            objects: self.objects.clone(),
            settings: self.settings.clone(),
            cache: self.cache.clone(),
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            tokens: self.tokens.clone(),
            namespace: self.options.namespace.as_str().into(),
            cluster_id: self.options.cluster_id.as_str().into(),
        }
    }
}

struct Followers {
    status: mpsc::UnboundedReceiver<News>,
    namespaces: mpsc::UnboundedReceiver<News>,
}

/// Starts the sources and the hub.
fn gather(
    options: &Options,
    client: &kube::Client,
    settings: &Arc<Settings>,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    shutdown: &Shutdown,
) -> ((Handle, Objects), Followers) {
    let (events, receiver) = mpsc::unbounded_channel();
    let (status_news, status) = mpsc::unbounded_channel();
    let (namespace_news, namespaces) = mpsc::unbounded_channel();
    let outlet = Outlet { events, metrics: metrics.clone(), shutdown: shutdown.token() };
    for kind in sources::kinds() {
        tasks.spawn(sources::watch_kind(kind, client.clone(), outlet.clone()));
    }
    tasks.spawn(sources::watch_settings(client.clone(), options.namespace.clone(), settings.clone(), outlet));
    let mesh = MeshSettings {
        mesh: settings.mesh_config(),
        domain: options.domain.clone(),
        cluster_id: options.cluster_id.clone(),
        http10: options.http10,
    };
    let objects = Objects::default();
    let (hub, handle) = Hub::new(Inputs {
        world: World::new(mesh),
        events: receiver,
        kinds: sources::kinds().collect(),
        news: vec![status_news, namespace_news],
        objects: objects.clone(),
        debounce: Debounce::new(options.debounce_after, options.debounce_max),
        metrics: metrics.clone(),
    });
    tasks.spawn(hub.run(shutdown.token()));
    ((handle, objects), Followers { status, namespaces })
}

async fn load_authority(
    options: &Options,
    client: &kube::Client,
    trust_domain: &str,
    shutdown: &Shutdown,
) -> anyhow::Result<Authority> {
    loop {
        match ca::load(client.clone(), &options.namespace, trust_domain, options.root_cert_ttl).await {
            Err(error @ ca::CaError::Api { .. }) if !shutdown.is_requested() => {
                tracing::warn!(%error, "the root cannot be loaded yet, trying again");
                tokio::time::sleep(RETRY).await;
            }
            result => return result.context("the certificate authority has no root"),
        }
    }
}

fn note_expiry(authority: &Authority, metrics: &Metrics) {
    let Ok(expiry) = authority.expiry() else { return };
    let at = expiry.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let left = expiry.duration_since(std::time::SystemTime::now()).unwrap_or_default().as_secs_f64();
    metrics.root_expiry_timestamp.set(at);
    metrics.root_expiry_seconds.set(left);
    const MONTH: f64 = 30.0 * 86_400.0;
    if left < MONTH {
        tracing::warn!("the root certificate ends in {:.0} days: rotate it", left / 86_400.0);
    }
}

/// Waits for the API server to answer; a refusal is an answer.
async fn load_settings(
    options: &Options,
    client: &kube::Client,
    settings: &Settings,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut failures = 0u32;
    loop {
        match sources::load_settings(client, &options.namespace, settings).await {
            Ok(()) => return Ok(()),
            Err(error @ kube::Error::Api(_)) => {
                return Err(error).context("cannot read the ConfigMaps of the control plane");
            }
            Err(_) if shutdown.is_requested() => anyhow::bail!("stopped while waiting for the API server"),
            Err(error) => {
                if failures.is_multiple_of(50) {
                    // The outermost error says "client error" at best; the cause is what an operator needs.
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(error, "the API server does not answer, trying again");
                }
                failures += 1;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// So many namespaces are written at once.
const NAMESPACES_AT_ONCE: usize = 8;

async fn keep_roots(roots: RootConfigMaps, news: mpsc::UnboundedReceiver<News>, shutdown: Shutdown) {
    let written = UnboundedReceiverStream::new(news).for_each_concurrent(NAMESPACES_AT_ONCE, |news| {
        let roots = roots.clone();
        async move {
            if let News::Namespace(namespace) = news {
                roots.ensure(&namespace).await;
            }
        }
    });
    tokio::select! {
        () = shutdown.requested() => {}
        () = written => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other roles run istiod as a task.
    #[test]
    fn it_can_be_spawned() {
        fn spawnable<F: Future + Send>(_: fn(Options, Shutdown) -> F) {}
        spawnable(run);
    }
}
