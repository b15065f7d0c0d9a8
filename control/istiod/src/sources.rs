//! Watches: what happens in Kubernetes, as changes of the mesh.
//!
//! Every object is read by itself: one that cannot be used is reported, its last good state stays, and the watch goes on.

mod parse;
mod settings;
mod watch;

pub use parse::{Problem, read};
pub use settings::{Settings, load as load_settings, watch_settings};
#[cfg(test)]
pub use watch::Source;
pub use watch::watch_kind;

use std::sync::Arc;

use meltemi_config::Kind;
use meltemi_config::mesh_config::MeshConfig;
use meltemi_mesh::Change;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The kinds that make the mesh.
pub fn kinds() -> impl Iterator<Item = Kind> {
    Kind::istio().chain([
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::Namespace,
        Kind::Node,
        Kind::Secret,
    ])
}

/// What sources tell the hub.
#[derive(Debug)]
pub enum Event {
    /// Something changed.
    Change(Change),
    /// A stored object cannot be used, or only in part.
    Problem(Problem),
    /// A stored object is sound again, or gone.
    Sound {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// All that there was of this kind has been told.
    Synced(Kind),
}

/// Where sources send, and what they share.
#[derive(Clone)]
pub struct Outlet {
    /// To the hub.
    pub events: mpsc::UnboundedSender<Event>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Ends all watches.
    pub shutdown: CancellationToken,
}

impl Outlet {
    /// Sends; a hub that is gone needs no news.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Sends a new mesh configuration.
    pub fn mesh_config(&self, mesh: MeshConfig) {
        self.send(Event::Change(Change::MeshConfig(Box::new(mesh))));
    }
}
