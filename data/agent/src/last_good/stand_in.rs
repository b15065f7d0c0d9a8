//! Serves the last good configuration in the control plane's place.

use std::sync::Arc;

use bytes::Bytes;
use meltemi_proto::type_url;
use meltemi_xds::server::{Handler, Session, StreamInfo};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use tokio::sync::watch;
use tonic::Status;
use tracing::warn;

use super::Config;

/// A server of a configuration that does not change, until the control plane is there.
#[derive(Clone, Debug)]
pub struct StandIn {
    config: Arc<Config>,
    reached: watch::Receiver<bool>,
}

impl StandIn {
    /// Serves `config` until `reached` is true; then streams end, and the proxy comes back to whoever is there.
    pub fn new(config: Config, reached: watch::Receiver<bool>) -> Self {
        Self { config: Arc::new(config), reached }
    }
}

#[tonic::async_trait]
impl Handler for StandIn {
    type Session = Self;

    async fn open(&self, _: StreamInfo) -> Result<Self, Status> {
        Ok(self.clone())
    }
}

#[tonic::async_trait]
impl Session for StandIn {
    fn resources(&mut self, url: &str, subscription: &Subscription) -> ResourceSet {
        let Some(known) = type_url::known(url) else { return ResourceSet::default() };
        let resources = self.config.get(url).into_iter().flatten();
        let asked = resources.filter(|(name, _)| subscription.contains(name));
        let set = asked.filter_map(|(name, resource)| {
            let body = Bytes::from(resource.resource.as_ref()?.value.clone());
            let (name, version) = (Arc::<str>::from(name.as_str()), Arc::from(resource.version.as_str()));
            Some((name.clone(), Resource { name, version, body, type_url: known }))
        });
        Arc::new(set.collect())
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        // An error means that nobody looks for the control plane any more: then the stream ends as well.
        let _ = self.reached.wait_for(|reached| *reached).await;
        None
    }

    fn acked(&mut self, _: &str, _: &str, _: &str) {}

    fn nacked(&mut self, url: &str, _: &str, error: &str) {
        warn!(r#type = type_url::short(url), error, "the proxy refused its own last good configuration");
    }
}
