//! Configuration in: static resources and xDS, compiled, warmed and put into force.
//!
//! Everything here runs on the control thread. [`Feed`] owns what is known; a rejected resource leaves the last good one in force.

pub mod clusters;
pub mod connect;
pub mod listeners;
pub mod registry;
pub mod secrets;
pub(crate) mod update;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::type_url;
use meltemi_xds::Subscription;
use meltemi_xds::client::SubscriptionChange;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::clusters::Clusters;
use self::listeners::Listeners;
use self::registry::Registry;
use self::secrets::SecretFeeds;
use crate::base::slot::Slot;
use crate::filters::Deps;
use crate::listener::table::SharedTable;
use crate::listener::worker::Workers;
use crate::telemetry::stats::tables::{ClusterManagerStats, ControlPlaneStats, ListenerManagerStats};
use crate::tls::secret::Secret;
use crate::upstream::resolve::Lookup;

/// How long listeners wait for the first clusters before they are served without some of them.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a feed is made of.
pub struct Parts {
    /// For compiling.
    pub deps: Deps,
    /// `SO_MARK` on upstream connections.
    pub mark: Option<u32>,
    /// Names.
    pub lookup: Arc<dyn Lookup>,
    /// The workers, to bind sockets.
    pub workers: Workers,
    /// The table the workers read.
    pub table: SharedTable,
    /// How long replaced filter chains may drain.
    pub drain_time: Duration,
    /// Ends everything the feed has started.
    pub stop: CancellationToken,
}

/// The owner of all configuration.
pub struct Feed {
    deps: Deps,
    clusters: Clusters,
    listeners: Listeners,
    secrets: SecretFeeds,
    /// Holds the cells of the bootstrap's secrets.
    static_secrets: Vec<Arc<Slot<Secret>>>,
    /// What the admin interface shows.
    pub registry: Arc<Registry>,
    /// Types whose first answer is still awaited.
    awaited: BTreeSet<&'static str>,
    /// Where wishes for the ADS stream go.
    wishes: Option<mpsc::UnboundedSender<SubscriptionChange>>,
    wished: BTreeMap<&'static str, BTreeSet<Arc<str>>>,
    live: watch::Sender<bool>,
    impatient: bool,
    control_plane: ControlPlaneStats,
    stop: CancellationToken,
}

/// The feed in the hands of the tasks that feed it.
pub type SharedFeed = Rc<RefCell<Feed>>;

impl Feed {
    /// An empty feed.
    pub fn new(parts: Parts) -> SharedFeed {
        let registry = Arc::new(Registry::default());
        let stats = &parts.deps.stats;
        let clusters = Clusters::new(
            crate::upstream::compile::Deps {
                stats: stats.clone(),
                secrets: parts.deps.secrets.clone(),
                mark: parts.mark,
            },
            parts.deps.clusters.clone(),
            parts.lookup,
            ClusterManagerStats::new(stats, "cluster_manager."),
        );
        let listeners = Listeners::new(
            parts.workers,
            parts.table,
            parts.drain_time,
            ListenerManagerStats::new(stats, "listener_manager."),
        );
        Rc::new(RefCell::new(Self {
            control_plane: ControlPlaneStats::new(stats, "control_plane."),
            deps: parts.deps,
            clusters,
            listeners,
            secrets: SecretFeeds::default(),
            static_secrets: Vec::new(),
            registry,
            awaited: BTreeSet::new(),
            wishes: None,
            wished: BTreeMap::new(),
            live: watch::Sender::new(false),
            impatient: false,
            stop: parts.stop,
        }))
    }

    /// Becomes true when the first full configuration is in force, and stays so.
    pub fn live(&self) -> watch::Receiver<bool> {
        self.live.subscribe()
    }

    /// The types whose first answer has to come before the engine is ready, and where wishes go.
    pub fn expect(&mut self, types: &[&'static str], wishes: mpsc::UnboundedSender<SubscriptionChange>) {
        self.awaited.extend(types);
        self.wishes = Some(wishes);
    }

    /// The clusters.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// The listeners.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// The listeners, to drain them.
    pub fn listeners_mut(&mut self) -> &mut Listeners {
        &mut self.listeners
    }

    /// Puts into force what is ready, asks for what is missing. Called after every change.
    fn settle(&mut self, this: &SharedFeed) {
        let patient = !self.impatient && !*self.live.borrow();
        self.clusters.activate(&self.registry, patient);
        let clusters_done = !self.awaited.contains(type_url::CLUSTER) && self.clusters.warming() == 0;
        if clusters_done || !patient {
            self.listeners.activate(&self.registry, patient);
        }
        self.wish();
        let secrets = secrets::by_source(&self.deps.secrets);
        self.secrets.ask(secrets, this, (&self.deps, &self.stop));
        let done = clusters_done && self.awaited.is_empty() && self.listeners.warming() == 0;
        if done && !self.live.send_replace(true) {
            info!("first configuration is in force");
        }
    }

    /// Tells the ADS stream which names are wanted now.
    fn wish(&mut self) {
        let Some(wishes) = &self.wishes else { return };
        let ads_secrets = secrets::over_ads(&self.deps.secrets);
        let wanted = [
            (type_url::ENDPOINT, self.clusters.endpoint_names()),
            (type_url::ROUTE, self.listeners.route_names()),
            (type_url::SECRET, ads_secrets),
        ];
        for (type_url, names) in wanted {
            let before = self.wished.entry(type_url).or_default();
            if *before == names {
                continue;
            }
            for gone in before.difference(&names) {
                self.registry.remove(type_url, gone);
            }
            before.clone_from(&names);
            let _ = wishes.send((type_url, Subscription::Names(names)));
        }
    }
}

/// Settles after something changed outside of an update.
pub fn settle(feed: &SharedFeed) {
    feed.borrow_mut().settle(feed);
}

/// Waits for slow clusters only so long.
pub fn be_patient(feed: &SharedFeed) {
    let feed = feed.clone();
    tokio::task::spawn_local(async move {
        tokio::time::sleep(PATIENCE).await;
        let waits = feed.borrow().clusters.warming();
        if waits > 0 && !*feed.borrow().live.borrow() {
            warn!(clusters = waits, "some clusters are not ready; listeners are served without them");
        }
        feed.borrow_mut().impatient = true;
        settle(&feed);
    });
}
