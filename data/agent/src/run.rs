//! The life of the agent: identity and configuration first, then the proxy, then the ports; and back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meltemi_identity::SpiffeId;
use meltemi_process::readiness::{Condition, Readiness};
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use meltemi_xds::server::sds_service;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server as Grpc;
use tracing::{info, warn};

use crate::bootstrap::{admin_port, bootstrap};
use crate::data_plane::{DataPlane, StartOptions, Starter};
use crate::dns::{Names, Server, Upstream};
use crate::http_client::Target;
use crate::identity::{Rotation, Secrets, Signer, Workload};
use crate::istiod::{Failure, Istiod};
use crate::last_good::{Directory, Keeper};
use crate::net::{Dial, listen_unix};
use crate::proxyless;
use crate::relay::{Relay, Watcher};
use crate::settings::Settings;
use crate::status::{AgentMetrics, Probers, Scrapes, Status, application, router};

/// Runs a proxy with its agent until `signal` or until the proxy ends.
///
/// # Errors
/// When something needed cannot be started, or the proxy ended by itself.
pub async fn proxy(settings: Settings, starter: Arc<dyn Starter>, signal: Shutdown) -> Result<(), Failure> {
    let started = Instant::now();
    let settings = Arc::new(settings);
    let metrics = AgentMetrics::new();
    let readiness = Readiness::new();
    // The agent's own tasks outlive the signal: the proxy needs them while it drains.
    let tasks = Shutdown::new();
    let directory = last_good_directory(&settings);
    let workload = start_identity(&settings, &metrics, &readiness, &tasks, directory.clone())?;
    if let Some(directory) = &settings.paths.output_certs {
        let condition = readiness.condition("certificate files");
        tokio::spawn(proxyless::keep_written(directory.clone(), workload.clone(), condition));
    }
    let connected = readiness.condition("control plane");
    let keeper = if settings.proxyless() {
        // Nobody asks the control plane for anything before the application runs, which waits for us.
        connected.ready();
        // Several programs may ask, each for its own: what one has stands in for no other.
        Keeper::nothing()
    } else {
        directory.map_or_else(Keeper::in_memory, |directory| Keeper::open(directory, &settings.node))
    };
    let names = serve_dns(&settings, &metrics, &tasks, &keeper).await?;
    serve_sockets(&settings, &metrics, connected, (Secrets::new(workload), names), &tasks, keeper)?;
    let plane = starter.start(bootstrap(&settings, starter.extensions()), start_options(&settings)).await?;
    let (quit, drain) = (signal.child(), Arc::new(Notify::new()));
    let status = Status {
        readiness,
        proxy: Some(plane.clone()),
        started,
        probers: Arc::new(probers(&settings)?),
        scrapes: Arc::new(scrapes(&settings, metrics)?),
        quit: quit.clone(),
        drain: drain.clone(),
    };
    serve_status(settings.status_port, status, &tasks).await?;
    info!(node = %settings.node, discovery = %settings.discovery, "the proxy is started");
    tokio::spawn(forget_start(plane.clone(), tasks.clone()));
    let end = wait(plane.as_ref(), &quit, &drain).await;
    if end.is_ok() {
        terminate(plane.as_ref(), &settings).await;
    }
    tasks.request();
    end
}

/// How often the proxy is asked whether it is ready.
const READY: Duration = Duration::from_secs(1);

/// Gives back what only the start has needed, once the first whole configuration is in force.
async fn forget_start(plane: Arc<dyn DataPlane>, tasks: Shutdown) {
    while plane.ready().await.is_err() {
        tokio::select! {
            () = tasks.requested() => return,
            () = tokio::time::sleep(READY) => {}
        }
    }
    meltemi_process::memory::forget_start();
}

/// Waits for the wish to end; draining may be wished for before that.
async fn wait(plane: &dyn DataPlane, quit: &Shutdown, drain: &Notify) -> Result<(), Failure> {
    loop {
        tokio::select! {
            () = quit.requested() => return Ok(()),
            () = drain.notified() => plane.drain().await,
            why = plane.ended() => return Err(why.into()),
        }
    }
}

/// How often connections are counted at the end.
const COUNT: Duration = Duration::from_millis(500);

/// Goes on serving while the endpoint is being taken out elsewhere, then leaves. The kubelet's grace period is
/// the only other deadline.
async fn terminate(plane: &dyn DataPlane, settings: &Settings) {
    plane.drain().await;
    if settings.exit_on_zero {
        info!(minimum = ?settings.minimum_drain, "draining until no connection is left");
        tokio::time::sleep(settings.minimum_drain).await;
        while plane.active_connections().await.is_some_and(|count| count > 0) {
            tokio::time::sleep(COUNT).await;
        }
    } else {
        info!(duration = ?settings.termination_drain(), "draining");
        tokio::time::sleep(settings.termination_drain()).await;
    }
    plane.shutdown().await;
    info!("the proxy has ended");
}

fn start_identity(
    settings: &Arc<Settings>,
    metrics: &AgentMetrics,
    readiness: &Readiness,
    tasks: &Shutdown,
    directory: Option<Directory>,
) -> Result<watch::Receiver<Option<Workload>>, Failure> {
    let (current, workload) = watch::channel(None);
    let rotation = Rotation {
        id: SpiffeId::new(&settings.trust_domain, &settings.node.namespace, &settings.service_account)?,
        signer: Arc::new(Signer::new(settings)),
        root_file: settings.paths.root_cert.clone(),
        current,
        directory,
        condition: readiness.condition("certificate"),
        expiry: metrics.cert_expiry.clone(),
        requests: metrics.outgoing_requests.clone(),
        failures: metrics.failed_outgoing_requests.clone(),
    };
    tokio::spawn(rotation.run(tasks.clone()));
    Ok(workload)
}

/// Answers captured look-ups; gives where tables of names go.
async fn serve_dns(
    settings: &Settings,
    metrics: &AgentMetrics,
    tasks: &Shutdown,
    keeper: &Keeper,
) -> Result<Option<Arc<Names>>, Failure> {
    let Some(port) = settings.dns_port else { return Ok(None) };
    let names = Names::new(&settings.node.namespace, &settings.node.dns_domain, keeper.clone());
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let upstream = Upstream::of_resolv_conf(&resolv_conf, settings.bypass_mark);
    let server = Server::new(names.subscribe(), upstream, metrics.dns.clone(), settings.bypass_mark);
    server.start(port, tasks).await.map_err(|error| format!("port {port} for look-ups: {error}"))?;
    Ok(Some(Arc::new(names)))
}

fn serve_sockets(
    settings: &Arc<Settings>,
    metrics: &AgentMetrics,
    connected: Condition,
    (secrets, names): (Secrets, Option<Arc<Names>>),
    tasks: &Shutdown,
    keeper: Keeper,
) -> Result<(), Failure> {
    let relay = Relay {
        istiod: Istiod::discovery(settings),
        watcher: Arc::new(Configured(connected)),
        keeper,
        attempts: Arc::default(),
        names,
        metrics: metrics.relay.clone(),
        shutdown: tasks.clone(),
    };
    let ads = AggregatedDiscoveryServiceServer::new(relay)
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(usize::MAX);
    let xds = listen(&settings.paths.xds)?;
    if settings.proxyless() {
        let incoming = proxyless::listen()?;
        let service = Grpc::builder().add_service(ads.clone());
        tokio::spawn(service.serve_with_incoming_shutdown(incoming, stop(tasks)));
        proxyless::open_to_application(&settings.paths.xds)?;
    }
    tokio::spawn(Grpc::builder().add_service(ads).serve_with_incoming_shutdown(xds, stop(tasks)));
    let sds = listen(&settings.paths.sds)?;
    let service = sds_service(Arc::new(secrets));
    tokio::spawn(Grpc::builder().add_service(service).serve_with_incoming_shutdown(sds, stop(tasks)));
    Ok(())
}

/// Limit of a discovery request of the proxy, in bytes.
const MAX_REQUEST: usize = 64 << 20;

fn listen(path: &Path) -> Result<UnixListenerStream, Failure> {
    let listener = listen_unix(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(UnixListenerStream::new(listener))
}

fn stop(tasks: &Shutdown) -> impl Future<Output = ()> + use<> {
    let tasks = tasks.clone();
    async move { tasks.requested().await }
}

/// Ready once the control plane was reached or the last good configuration stands in for it; losing it later is no
/// reason to take the pod out of service.
struct Configured(Condition);

impl Watcher for Configured {
    fn connected(&self) {
        self.0.ready();
    }

    fn stands_in(&self) {
        self.0.ready();
    }
}

/// Where what must survive a restart of the container is kept, if there is such a place.
fn last_good_directory(settings: &Settings) -> Option<Directory> {
    let path = &settings.paths.last_good;
    let opened = Directory::open(path).inspect_err(|error| {
        info!(path = %path.display(), %error, "without the volume istio-data a restart needs the control plane");
    });
    opened.ok()
}

fn start_options(settings: &Settings) -> StartOptions {
    let concurrency = settings.proxy_config.concurrency.filter(|count| *count > 0);
    StartOptions {
        concurrency: concurrency.and_then(|count| usize::try_from(count).ok()),
        drain_time: settings.drain_duration(),
        bypass_mark: settings.bypass_mark,
        log_level: settings.proxy_log_level.clone(),
        config_dir: settings.paths.config_dir.clone(),
    }
}

/// Where the application is asked: by the pod's own address, as the kubelet would.
fn application_host(settings: &Settings) -> String {
    if settings.probe_localhost { "127.0.0.1".to_owned() } else { settings.node.ip.to_string() }
}

fn probers(settings: &Settings) -> Result<Probers, Failure> {
    Ok(Probers::new(settings.probers.as_deref(), application_host(settings), settings.bypass_mark)?)
}

fn scrapes(settings: &Settings, metrics: AgentMetrics) -> Result<Scrapes, Failure> {
    let admin =
        Target { host: "127.0.0.1".into(), port: admin_port(settings), tls: false, dial: Dial::default() };
    let dial = Dial { mark: settings.bypass_mark, from_passthrough: true };
    let host = application_host(settings);
    let target = |port| Target { host: host.clone(), port, tls: false, dial };
    let application = match &settings.scrape {
        Some(json) => application(json, target)?,
        None => None,
    };
    Ok(Scrapes { metrics, proxy: (admin, "/stats/prometheus".to_owned()), application })
}

async fn serve_status(port: u16, status: Status, tasks: &Shutdown) -> Result<(), Failure> {
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        // Without IPv6.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .await
            .map_err(|error| format!("port {port} of the agent: {error}"))?,
    };
    let service = router(status).into_make_service_with_connect_info::<SocketAddr>();
    let stop = stop(tasks);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
            warn!(%error, "the agent's port failed");
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
