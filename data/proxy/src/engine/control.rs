//! The control thread: builds everything, then keeps configuration, names and the admin interface going.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use arc_swap::ArcSwap;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::bootstrap::v3::bootstrap::DynamicResources;
use meltemi_proto::envoy::config::core::v3::api_config_source::ApiType;
use meltemi_proto::type_url;
use meltemi_xds::Subscription;
use meltemi_xds::client::ClientOptions;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::admin_view::View;
use super::commands::obey;
use super::{Command, Options, StartError, Started, references};
use crate::admin;
use crate::base::address::Address;
use crate::base::reject::{At, Reject};
use crate::base::slot::Slots;
use crate::feed::connect::ClusterConnector;
use crate::feed::secrets::cluster_of;
use crate::feed::update::FeedApply;
use crate::feed::{self, Feed, Parts, SharedFeed};
use crate::filters::Deps;
use crate::listener::table::SharedTable;
use crate::listener::worker::Workers;
use crate::telemetry::access_log::Sinks;
use crate::telemetry::istio::SeriesStore;
use crate::telemetry::istio::peer::OwnHeaders;
use crate::telemetry::stats::tables::ServerStats;
use crate::telemetry::stats::{Registry, Settings};

type Commands = (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>);
type Outcome = Result<Started, StartError>;

/// Runs until told to quit.
pub(super) fn run(bootstrap: Bootstrap, options: Options, commands: Commands, started: &SyncSender<Outcome>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = started.send(Err(StartError::System { what: "runtime".into(), source }));
            return;
        }
    };
    raise_descriptor_limit();
    let local = LocalSet::new();
    let (sender, receiver) = commands;
    local.block_on(&runtime, async {
        let stop = CancellationToken::new();
        match build(bootstrap, &options, &sender, &stop).await {
            Err(error) => {
                let _ = started.send(Err(error));
            }
            Ok(built) => {
                let Built { started: ready, feed, sinks } = built;
                let _ = started.send(Ok(ready));
                obey(receiver, &feed, options.drain_time).await;
                stop.cancel();
                sinks.flush();
            }
        }
    });
    // Tasks hold the feed and with it the workers: they end here.
    drop(local);
}

/// Connections are limited by configuration; the soft limit of the system is often far below what is meant.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!(%error, "the limit of open files stays low");
        }
    }
}

/// Takes a bootstrap in as far as that goes without opening a port, and tells all that is wrong with it.
pub(super) fn validate(bootstrap: &Bootstrap, options: &Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what: "runtime".into(), source })?;
    // What is spawned is never run: it goes with the set.
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let prepared = prepare(bootstrap, options, &CancellationToken::new())?;
        drop(prepared);
        admin_address(bootstrap).map(|_| ())
    })
}

struct Built {
    started: Started,
    feed: SharedFeed,
    sinks: Sinks,
}

/// Everything compiled, nothing opened.
struct Prepared {
    feed: SharedFeed,
    deps: Deps,
    concurrency: usize,
}

fn prepare(
    bootstrap: &Bootstrap,
    options: &Options,
    stop: &CancellationToken,
) -> Result<Prepared, StartError> {
    let concurrency = match options.concurrency {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let settings = match &bootstrap.stats_config {
        Some(config) => Settings::compile(config).at("stats_config").map_err(one)?,
        None => Settings::default(),
    };
    let stats = Registry::new(concurrency, settings);
    let sinks = Sinks::new(concurrency);
    let table: SharedTable = Arc::new(ArcSwap::default());
    let workers = Workers::start(concurrency, &table)
        .map_err(|source| StartError::System { what: "worker threads".into(), source })?;
    let node = Arc::new(bootstrap.node.clone().unwrap_or_default());
    let deps = Deps {
        clusters: Arc::new(Slots::default()),
        routes: Arc::new(Slots::default()),
        secrets: Arc::default(),
        series: SeriesStore::new(stats.clone(), SeriesStore::LIMIT),
        stats: stats.clone(),
        sinks: sinks.clone(),
        own: OwnHeaders::of(&node).map(Arc::new),
        node,
        mark: options.bypass_mark,
    };
    let feed = Feed::new(Parts {
        deps: deps.clone(),
        mark: options.bypass_mark,
        lookup: options.lookup.clone(),
        workers,
        table,
        drain_time: options.drain_time,
        stop: stop.clone(),
    });
    load_static(&feed, bootstrap)?;
    if let Some(dynamic) = &bootstrap.dynamic_resources {
        subscribe(&feed, dynamic, &deps, stop).map_err(one)?;
    }
    Ok(Prepared { feed, deps, concurrency })
}

fn admin_address(bootstrap: &Bootstrap) -> Result<Option<Address>, StartError> {
    let address = bootstrap.admin.as_ref().and_then(|admin| admin.address.as_ref());
    address.map(|proto| Address::compile(proto).at("admin.address").map_err(one)).transpose()
}

async fn build(
    bootstrap: Bootstrap,
    options: &Options,
    commands: &mpsc::UnboundedSender<Command>,
    stop: &CancellationToken,
) -> Result<Built, StartError> {
    let Prepared { feed, deps, concurrency } = prepare(&bootstrap, options, stop)?;
    let (stats, sinks) = (deps.stats.clone(), deps.sinks.clone());
    feed::be_patient(&feed);
    feed::settle(&feed);
    let live = feed.borrow().live();
    let listeners = feed.borrow().listeners().active();
    tokio::task::spawn_local(vital_signs(ServerStats::new(&stats, "server."), live.clone(), concurrency));
    let admin = match admin_address(&bootstrap)? {
        None => None,
        Some(address) => {
            let view = View::new(bootstrap, &feed, &deps, (commands.clone(), options, concurrency));
            Some(serve_admin(&address, view.admin(stats.clone(), sinks.clone()), stop.clone()).await?)
        }
    };
    Ok(Built { started: Started { admin, live, listeners, stats }, feed, sinks })
}

fn one(reject: Reject) -> StartError {
    StartError::Bootstrap(vec![reject])
}

/// Takes the bootstrap's own resources in; all that is wrong is told at once.
fn load_static(feed: &SharedFeed, bootstrap: &Bootstrap) -> Result<(), StartError> {
    let Some(resources) = &bootstrap.static_resources else { return Ok(()) };
    let mut feed_mut = feed.borrow_mut();
    let mut rejects = Vec::new();
    for (index, secret) in resources.secrets.iter().enumerate() {
        let taken = feed_mut.static_secret(secret);
        rejects.extend(taken.at(format_args!("static_resources.secrets[{index}]({})", secret.name)).err());
    }
    for (index, cluster) in resources.clusters.iter().enumerate() {
        debug!(name = cluster.name, "static cluster");
        let taken = feed_mut.static_cluster(cluster, feed);
        rejects.extend(taken.at(format_args!("static_resources.clusters[{index}]({})", cluster.name)).err());
    }
    for (index, listener) in resources.listeners.iter().enumerate() {
        debug!(name = listener.name, "static listener");
        let taken = feed_mut.static_listener(listener.clone());
        rejects
            .extend(taken.at(format_args!("static_resources.listeners[{index}]({})", listener.name)).err());
    }
    for (index, listener) in resources.listeners.iter().enumerate() {
        let known = |name: &str| resources.clusters.iter().any(|cluster| cluster.name == name);
        let checked = references::check(listener, &known);
        rejects
            .extend(checked.at(format_args!("static_resources.listeners[{index}]({})", listener.name)).err());
    }
    if rejects.is_empty() { Ok(()) } else { Err(StartError::Bootstrap(rejects)) }
}

/// Opens the ADS stream.
fn subscribe(
    feed: &SharedFeed,
    dynamic: &DynamicResources,
    deps: &Deps,
    stop: &CancellationToken,
) -> Result<(), Reject> {
    let Some(ads) = &dynamic.ads_config else {
        let wanted = dynamic.cds_config.is_some() || dynamic.lds_config.is_some();
        return match wanted {
            true => {
                Err(Reject::new("dynamic_resources.ads_config", "is required: CDS and LDS come over ADS"))
            }
            false => Ok(()),
        };
    };
    let cluster = cluster_of(ads).ok_or_else(|| {
        Reject::new(
            "dynamic_resources.ads_config.grpc_services",
            "needs an envoy_grpc service with a cluster_name",
        )
    })?;
    let mut types = Vec::new();
    if dynamic.cds_config.is_some() {
        types.push(type_url::CLUSTER);
    }
    if dynamic.lds_config.is_some() {
        types.push(type_url::LISTENER);
    }
    let (wishes, receiver) = mpsc::unbounded_channel();
    feed.borrow_mut().expect(&types, wishes);
    let delta = matches!(ads.api_type(), ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc);
    let first = types.into_iter().map(|t| (t, Subscription::Wildcard)).collect();
    let mut client = ClientOptions::new(deps.node.as_ref().clone(), delta, first);
    client.subscriptions = Some(receiver);
    let headers = ads.grpc_services.first().map(|s| s.initial_metadata.clone()).unwrap_or_default();
    let connector = ClusterConnector::new(deps.clusters.slot(&cluster), headers);
    let apply = FeedApply { feed: feed.clone(), ads: true };
    tokio::task::spawn_local(meltemi_xds::client::run(client, connector, apply, stop.clone()));
    Ok(())
}

async fn serve_admin(
    address: &Address,
    admin: admin::Admin,
    stop: CancellationToken,
) -> Result<std::net::SocketAddr, StartError> {
    let failed = |source| StartError::System { what: format!("admin interface on {address}"), source };
    let Some(address_ip) = address.ip() else {
        return Err(failed(std::io::Error::other("a Unix domain socket is not supported here")));
    };
    let listener = TcpListener::bind(address_ip).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let thread = std::thread::Builder::new().name("admin".into()).spawn({
        let listener = listener.into_std().map_err(failed)?;
        move || serve_admin_here(listener, admin, stop)
    });
    thread.map(|_| bound).map_err(failed)
}

/// The admin interface has a thread of its own: a large dump must not delay configuration.
fn serve_admin_here(listener: std::net::TcpListener, admin: admin::Admin, stop: CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            admin::serve(listener, admin, stop.cancelled_owned()).await
        })
    });
    if let Err(error) = served {
        warn!(%error, "admin interface ended");
    }
}

async fn vital_signs(stats: ServerStats, mut live: tokio::sync::watch::Receiver<bool>, concurrency: usize) {
    let start = Instant::now();
    loop {
        let is_live = *live.borrow_and_update();
        stats.uptime().set(start.elapsed().as_secs());
        stats.concurrency().set(concurrency as u64);
        stats.live().set(u64::from(is_live));
        // Envoy's numbers: 0 live, 2 initializing.
        stats.state().set(if is_live { 0 } else { 2 });
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            // Whoever finds the engine ready finds it live here, too.
            Ok(()) = live.changed() => {}
        }
    }
}
