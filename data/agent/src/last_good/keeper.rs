//! Keeps what the proxy accepted, in memory and, a moment later, on disk.

use std::sync::Arc;
use std::time::Duration;

use meltemi_proto::envoy::service::discovery::v3::Resource;
use meltemi_proto::google::protobuf::Any;
use meltemi_proto::node::NodeId;
use meltemi_proto::type_url::NAME_TABLE;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::config::Resources;
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
            let names = state.accepted.get(NAME_TABLE).cloned();
            state.accepted = stream.accepted();
            // The proxy's stream knows only what it began with.
            if let Some(names) = names {
                state.accepted.set(NAME_TABLE, names);
            }
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

    /// The control plane sent this table of names, for the look-ups that we capture; the proxy does not hear of it.
    pub fn note_names(&self, table: &[u8]) {
        if self.off {
            return;
        }
        let any = Any { type_url: NAME_TABLE.to_owned(), value: table.to_vec() };
        let resource = Resource { resource: Some(any), ..Default::default() };
        let names = Resources::from([(String::new(), Arc::new(resource))]);
        let mut state = self.state.lock();
        if state.good.get(NAME_TABLE) == Some(&names) {
            return;
        }
        state.accepted.set(NAME_TABLE, names.clone());
        state.good.set(NAME_TABLE, names);
        state.unwritten = true;
        if state.settled {
            self.changed.notify_one();
        }
    }

    /// The last table of names.
    pub fn names(&self) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let resource = state.good.get(NAME_TABLE)?.values().next()?;
        Some(resource.resource.as_ref()?.value.clone())
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

#[cfg(test)]
mod tests {
    use meltemi_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
    use meltemi_proto::type_url::LISTENER;

    use super::*;

    /// A stream on which the proxy took a listener of that name.
    fn accept(keeper: &Keeper, listener: &str) {
        let mut stream = keeper.stream();
        let ask = DeltaDiscoveryRequest { type_url: LISTENER.into(), ..Default::default() };
        stream.delta_request(&ask);
        let any = Any { type_url: LISTENER.into(), value: vec![1] };
        let resource = Resource { name: listener.into(), resource: Some(any), ..Default::default() };
        stream.delta_response(&DeltaDiscoveryResponse {
            type_url: LISTENER.into(),
            nonce: "1".into(),
            resources: vec![resource],
            ..Default::default()
        });
        let changed = stream.delta_request(&DeltaDiscoveryRequest { response_nonce: "1".into(), ..ask });
        keeper.note(&stream, changed);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_kept_with_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(&dir.path().join("last-good")).unwrap();
        let node: NodeId = "sidecar~10.1.1.1~pod.ns~ns.svc.cluster.local".parse().unwrap();
        let keeper = Keeper::open(directory.clone(), &node);
        assert_eq!(keeper.names(), None);
        keeper.note_names(b"old");
        accept(&keeper, "a");
        keeper.note_names(b"new");
        accept(&keeper, "b");
        assert_eq!(
            keeper.names().as_deref(),
            Some(&b"new"[..]),
            "what a proxy accepts later does not bring back the old"
        );
        let kept = loop {
            tokio::time::sleep(PAUSE).await;
            let again = Keeper::open(directory.clone(), &node);
            if again.good().is_some() {
                break again;
            }
        };
        assert_eq!(kept.names().as_deref(), Some(&b"new"[..]));
        let nothing = Keeper::nothing();
        nothing.note_names(b"new");
        assert_eq!(nothing.names(), None);
    }
}
