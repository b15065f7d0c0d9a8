//! The hub: sole owner of the [`World`]. It gathers changes, waits until they settle, and publishes snapshots.

mod debounce;

pub use debounce::Debounce;

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::{AnyObject, Kind};
use meltemi_mesh::{Change, ChangeSet, Snapshot, World};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::sources::{Event, Problem};

/// A snapshot that proxies are served from.
#[derive(Debug, Clone)]
pub struct Published {
    /// Counts snapshots.
    pub version: u64,
    /// The mesh.
    pub snapshot: Arc<Snapshot>,
}

/// One snapshot's difference to the one before, on its way to every connection.
#[derive(Debug)]
pub struct Push {
    /// What to serve from now on.
    pub now: Published,
    /// What is different.
    pub changes: ChangeSet,
    /// When the first of the changes came in.
    pub since: Instant,
}

/// What others hear of the hub.
#[derive(Debug, Clone)]
pub enum News {
    /// A new snapshot.
    Snapshot(Published),
    /// An object cannot be used as it stands.
    Problem(Problem),
    /// An object is sound again, or gone.
    Sound(Kind, String, String),
    /// A namespace is there.
    Namespace(String),
}

/// How the hub is reached.
#[derive(Clone)]
pub struct Handle {
    /// The current snapshot; none until everything there is has been read.
    pub published: watch::Receiver<Option<Published>>,
    /// The connected proxies.
    pub connections: Arc<Connections>,
}

impl Handle {
    /// The current snapshot.
    pub fn current(&self) -> Option<Published> {
        self.published.borrow().clone()
    }

    /// Waits for the first snapshot; `None` when the hub ends before.
    pub async fn first(&self) -> Option<Published> {
        let mut published = self.published.clone();
        published.wait_for(Option::is_some).await.ok().and_then(|current| current.clone())
    }
}

/// The hub's task.
pub struct Hub {
    world: World,
    events: mpsc::UnboundedReceiver<Event>,
    missing: BTreeSet<Kind>,
    published: watch::Sender<Option<Published>>,
    connections: Arc<Connections>,
    news: Vec<mpsc::UnboundedSender<News>>,
    objects: Objects,
    debounce: Debounce,
    metrics: Arc<Metrics>,
    /// Changes that wait, and since when.
    pending: Option<(ChangeSet, Instant)>,
    latest: Arc<Snapshot>,
    version: u64,
}

/// What a hub needs.
pub struct Inputs {
    /// The mesh to begin with.
    pub world: World,
    /// From the sources.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Kinds that must have been read before anything is published.
    pub kinds: BTreeSet<Kind>,
    /// For those who follow: statuses, namespaces.
    pub news: Vec<mpsc::UnboundedSender<News>>,
    /// Where Istio objects are kept for others to read.
    pub objects: Objects,
    /// How long changes wait.
    pub debounce: Debounce,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Hub {
    /// A hub and the way to reach it.
    pub fn new(inputs: Inputs) -> (Self, Handle) {
        let Inputs { mut world, events, kinds, news, objects, debounce, metrics } = inputs;
        let (published, receiver) = watch::channel(None);
        let connections = Arc::new(Connections::new(metrics.clone()));
        let handle = Handle { published: receiver, connections: connections.clone() };
        let latest = world.snapshot();
        let hub = Self {
            world,
            events,
            missing: kinds,
            published,
            connections,
            news,
            objects,
            debounce,
            metrics,
            pending: None,
            latest,
            version: 0,
        };
        (hub, handle)
    }

    /// Works until the sources end or `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let deadline = self.debounce.deadline();
            let due = async move {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                event = self.events.recv() => match event {
                    Some(event) => self.take_all(event),
                    None => return,
                },
                () = due => self.publish(),
            }
        }
    }

    /// Takes an event and all that came with it, then looks at what they did.
    fn take_all(&mut self, first: Event) {
        self.take(first);
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        let started = Instant::now();
        self.latest = self.world.snapshot();
        self.metrics.snapshot_time.observe(started.elapsed().as_secs_f64());
        let changes = self.world.take_changes();
        let first_time = self.version == 0 && self.missing.is_empty();
        if first_time {
            self.pending = Some((changes, started));
            return self.publish();
        }
        if changes.is_empty() || self.version == 0 {
            return;
        }
        let (pending, _) = self.pending.get_or_insert_with(|| (ChangeSet::default(), started));
        pending.merge(changes);
        // Where traffic goes must not wait: a stopped pod would still get requests.
        if pending.endpoints_only() {
            self.publish();
        } else {
            self.debounce.note(started);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Change(change) => {
                self.metrics.inbound_updates.get_or_create(&vec![("type", update_label(&change))]).inc();
                if let Change::Upsert(AnyObject::Namespace(namespace)) = &change {
                    self.tell(&News::Namespace(namespace.metadata.name.clone().unwrap_or_default()));
                }
                self.objects.apply(&change);
                self.world.apply(change);
            }
            Event::Problem(problem) => self.tell(&News::Problem(problem)),
            Event::Sound { kind, namespace, name } => self.tell(&News::Sound(kind, namespace, name)),
            Event::Synced(kind) => {
                self.missing.remove(&kind);
            }
        }
    }

    fn publish(&mut self) {
        self.debounce.clear();
        let Some((changes, since)) = self.pending.take() else { return };
        self.version += 1;
        self.metrics.debounce_time.observe(since.elapsed().as_secs_f64());
        self.metrics.services.set(self.latest.services.len() as f64);
        self.metrics.virtual_services.set(self.latest.virtual_services.len() as f64);
        let cause = if changes.endpoints_only() { "endpoint" } else { "config" };
        self.metrics.push_triggers.get_or_create(&vec![("type", cause.to_owned())]).inc();
        let now = Published { version: self.version, snapshot: self.latest.clone() };
        tracing::debug!(version = self.version, changes = changes.touched.len(), "publishing");
        self.published.send_replace(Some(now.clone()));
        self.connections.push(&Arc::new(Push { now: now.clone(), changes, since }));
        self.tell(&News::Snapshot(now));
    }

    fn tell(&self, news: &News) {
        for follower in &self.news {
            let _ = follower.send(news.clone());
        }
    }
}

fn update_label(change: &Change) -> String {
    let kind = match change {
        Change::Upsert(object) => object.kind(),
        Change::Delete(kind, _, _) => *kind,
        Change::MeshConfig(_) => return "config".to_owned(),
    };
    match kind {
        Kind::EndpointSlice | Kind::Pod => "eds",
        Kind::Service | Kind::ServiceEntry => "svc",
        _ => "config",
    }
    .to_owned()
}
