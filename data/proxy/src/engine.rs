//! Assembly: from a bootstrap to a running engine, in the order in which traffic passes.

mod admin_view;
pub mod bootstrap;
mod commands;
mod control;
mod references;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3::Extension;
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::address::Address;
use crate::base::reject::Reject;
use crate::feed::listeners::ActiveListeners;
use crate::telemetry::stats::Registry;
use crate::upstream::resolve::{Lookup, SystemLookup};

/// How the engine runs, beside its bootstrap.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads; 0 means one for each core.
    pub concurrency: usize,
    /// How long connections may take to finish when their listener goes or the engine ends.
    pub drain_time: Duration,
    /// `SO_MARK` on our connections, where captured traffic is told apart by mark instead of by user.
    pub bypass_mark: Option<u32>,
    /// How names are resolved.
    pub lookup: Arc<dyn Lookup>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 0,
            drain_time: Duration::from_secs(45),
            bypass_mark: None,
            lookup: Arc::new(SystemLookup),
        }
    }
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bootstrap holds resources that cannot be used; every one is named.
    #[error("bootstrap: {}", list(.0))]
    Bootstrap(Vec<Reject>),
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

fn list(rejects: &[Reject]) -> String {
    rejects.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The engine.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Starts an engine. It is ready when [`Handle::ready`] says so.
    ///
    /// # Errors
    /// When a static resource of the bootstrap is refused, an address is taken, or threads cannot be made.
    pub fn start(bootstrap: Bootstrap, options: Options) -> Result<Handle, StartError> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        let admin_commands = commands.clone();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || control::run(bootstrap, options, (admin_commands, receiver), &started))
            .map_err(|source| StartError::System { what: "control thread".into(), source })?;
        match outcome.recv() {
            Ok(Ok(started)) => Ok(Handle { commands, started, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::System {
                what: "control thread".into(),
                source: io::Error::other("it ended before the engine had started"),
            }),
        }
    }

    /// Checks a bootstrap as [`start`](Engine::start) would, without opening a port.
    ///
    /// # Errors
    /// When a static resource of the bootstrap is refused; every one is named.
    pub fn validate(bootstrap: &Bootstrap, options: &Options) -> Result<(), StartError> {
        control::validate(bootstrap, options)
    }

    /// What the engine has, for `Node.extensions`: the control plane sends nothing else.
    pub fn extensions() -> Vec<Extension> {
        let of = |category: &str, types: &mut dyn Iterator<Item = &'static str>| -> Vec<Extension> {
            types
                .map(|name| Extension {
                    category: category.to_owned(),
                    type_urls: vec![name.to_owned()],
                    ..Extension::default()
                })
                .collect()
        };
        let mut all = of("envoy.filters.http", &mut crate::filters::known_types());
        all.extend(of("envoy.filters.network", &mut crate::tcp::compile::known_types()));
        all.extend(of("envoy.filters.listener", &mut crate::listener::compile::known_types()));
        all
    }
}

/// What is known once the engine has started.
#[derive(Debug)]
struct Started {
    admin: Option<SocketAddr>,
    live: watch::Receiver<bool>,
    listeners: ActiveListeners,
    stats: Registry,
}

/// What may be asked of the control thread.
#[derive(Debug)]
enum Command {
    /// Drain listeners.
    Drain {
        /// Of inbound direction only.
        inbound_only: bool,
        /// Let connections finish first; otherwise only stop accepting.
        graceful: bool,
        /// Told when it is over.
        done: Option<oneshot::Sender<()>>,
    },
    /// Tell clients of inbound listeners to go elsewhere, and go on serving.
    Announce,
    /// End.
    Quit,
}

/// A running engine. Dropping it ends the engine at once.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    started: Started,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Waits until the first full configuration is in force.
    pub async fn ready(&self) {
        let mut live = self.started.live.clone();
        // An error means that the engine has ended; then nobody waits for it any more.
        let _ = live.wait_for(|live| *live).await;
    }

    /// Whether the first full configuration is in force.
    pub fn is_ready(&self) -> bool {
        *self.started.live.borrow()
    }

    /// Tells clients of inbound listeners to go elsewhere (GOAWAY, `connection: close`) and goes on serving everybody: those
    /// who have not heard yet that this endpoint is leaving must not find a closed door.
    pub fn announce_drain(&self) {
        let _ = self.commands.send(Command::Announce);
    }

    /// Drains all listeners: clients are told to go elsewhere, requests finish, new connections are still served. Returns when
    /// no connection is left or the drain time has passed; then nothing is accepted any more.
    pub async fn drain(&self) {
        let (done, over) = oneshot::channel();
        let drain = Command::Drain { inbound_only: false, graceful: true, done: Some(done) };
        if self.commands.send(drain).is_ok() {
            let _ = over.await;
        }
    }

    /// Ends the engine and waits for its threads.
    pub fn shutdown(mut self) {
        self.end();
    }

    /// Waits until the engine ends by itself (`/quitquitquit`).
    pub async fn ended(&self) {
        let mut live = self.started.live.clone();
        while live.changed().await.is_ok() {}
    }

    /// Where the admin interface listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.started.admin
    }

    /// Where a listener is reached.
    pub fn listener_address(&self, name: &str) -> Option<SocketAddr> {
        let listeners = self.started.listeners.lock();
        listeners.get(name)?.first().and_then(Address::ip)
    }

    /// The engine's statistics.
    pub fn stats(&self) -> &Registry {
        &self.started.stats
    }

    fn end(&mut self) {
        let _ = self.commands.send(Command::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
