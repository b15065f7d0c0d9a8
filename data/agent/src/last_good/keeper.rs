//! Keeps what the proxy accepted, in memory and, a moment later, on disk.

use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::node::NodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{Config, Directory, Stream};

/// Changes come in groups; a group is written once.
const QUIET: Duration = Duration::from_millis(500);
/// Between two writings: endpoints of a large mesh change all the time.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct State {
    /// All that was accepted.
    accepted: Config,
    /// The same when it last fitted together: with this a proxy can start.
    good: Config,
    /// It fits together now.
    settled: bool,
    /// Something was accepted since it last did.
    fresh: bool,
    /// The good one is not on disk yet.
    unwritten: bool,
}

/// The last good configuration of a proxy.
#[derive(Clone, Debug)]
pub struct Keeper {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    off: bool,
}

impl Keeper {
    /// Without a directory: nothing survives this process.
    pub fn in_memory() -> Self {
        Self { state: Arc::default(), changed: Arc::default(), off: false }
    }

    /// Where nothing is to be kept at all.
    pub fn nothing() -> Self {
        Self { off: true, ..Self::in_memory() }
    }

    /// With what `directory` holds for this proxy. A task keeps the directory up to date.
    pub fn open(directory: Directory, node: &NodeId) -> Self {
        let keeper = Self::in_memory();
        let proxy = format!("{:?} {}.{}", node.kind, node.name, node.namespace);
        let path = directory.path().display().to_string();
        match Config::load(&directory, &proxy) {
            Ok(Some(config)) => {
                info!(path, resources = config.len(), "there is a last good configuration");
                *keeper.state.lock() =
                    State { accepted: config.clone(), good: config, settled: true, ..State::default() };
            }
            Ok(None) => {}
            Err(error) => warn!(path, %error, "the last good configuration on disk is ignored"),
        }
        tokio::spawn(keeper.clone().write(directory, proxy));
        keeper
    }

    /// A new stream of the proxy.
    pub fn stream(&self) -> Stream {
        Stream::new(self.state.lock().accepted.clone())
    }

    /// The proxy has said something on this stream; `changed`: it has accepted something.
    pub fn note(&self, stream: &Stream, changed: bool) {
        if self.off {
            return;
        }
        let mut state = self.state.lock();
        if changed {
            state.accepted = stream.accepted();
            state.fresh = true;
        }
        state.settled = stream.is_settled();
        if state.settled && std::mem::take(&mut state.fresh) && state.good != state.accepted {
            state.good = state.accepted.clone();
            state.unwritten = true;
        }
        if state.settled && state.unwritten {
            self.changed.notify_one();
        }
    }

    /// With what a proxy could start now, if there is any.
    pub fn good(&self) -> Option<Config> {
        Some(self.state.lock().good.clone()).filter(|config| !config.is_empty())
    }

    async fn write(self, directory: Directory, proxy: String) {
        let mut told = false;
        loop {
            self.changed.notified().await;
            tokio::time::sleep(QUIET).await;
            let good = {
                let mut state = self.state.lock();
                // Otherwise more is on its way; we are told when it is there.
                let ripe = state.settled && std::mem::take(&mut state.unwritten);
                ripe.then(|| state.good.clone())
            };
            let Some(config) = good else { continue };
            let (to, proxy) = (directory.clone(), proxy.clone());
            // A panic of the task would be told where it happens.
            let saved = tokio::task::spawn_blocking(move || config.save(&to, &proxy)).await;
            if let Ok(Err(error)) = saved
                && !std::mem::replace(&mut told, true)
            {
                let path = directory.path().display();
                warn!(%path, %error, "the last good configuration is not kept");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
