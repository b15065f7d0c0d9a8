//! The engine as the agent's data plane, in this process.

use std::sync::Arc;
use std::time::Duration;

use meltemi_agent::data_plane::{DataPlane, StartOptions, Starter};
use meltemi_agent::istiod::Failure;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3::Extension;
use meltemi_proxy::engine::{Engine, Handle, Options};
use meltemi_proxy::telemetry::stats::group::Value;
use tokio::sync::RwLock;

/// Worker threads where nothing is said, as Istio's sidecars have.
const WORKERS: usize = 2;

/// Starts our engine.
#[derive(Debug, Default)]
pub struct InProcess;

#[async_trait::async_trait]
impl Starter for InProcess {
    fn extensions(&self) -> Vec<Extension> {
        Engine::extensions()
    }

    async fn start(
        &self,
        bootstrap: Bootstrap,
        options: StartOptions,
    ) -> Result<Arc<dyn DataPlane>, Failure> {
        let options = Options {
            concurrency: options.concurrency.unwrap_or(WORKERS),
            drain_time: options.drain_time,
            bypass_mark: options.bypass_mark,
            ..Options::default()
        };
        // Starting waits for threads; the agent has one thread, and goes on serving meanwhile.
        let started = tokio::task::spawn_blocking(move || Engine::start(bootstrap, options)).await?;
        Ok(Arc::new(Running { handle: RwLock::new(Some(Arc::new(started?))) }))
    }
}

struct Running {
    handle: RwLock<Option<Arc<Handle>>>,
}

impl Running {
    async fn handle(&self) -> Option<Arc<Handle>> {
        self.handle.read().await.clone()
    }
}

#[async_trait::async_trait]
impl DataPlane for Running {
    async fn ready(&self) -> Result<(), String> {
        match self.handle().await {
            Some(handle) if handle.is_ready() => Ok(()),
            Some(_) => Err("the proxy waits for its first configuration".into()),
            None => Err("the proxy has ended".into()),
        }
    }

    async fn drain(&self) {
        if let Some(handle) = self.handle().await {
            // The agent decides when it is over; draining itself goes on beside it.
            tokio::spawn(async move { handle.drain().await });
        }
    }

    async fn active_connections(&self) -> Option<u64> {
        let handle = self.handle().await?;
        let samples = handle.stats().samples();
        let active = samples.iter().filter(|sample| {
            sample.name.starts_with("listener.") && sample.name.ends_with(".downstream_cx_active")
        });
        Some(
            active
                .map(|sample| if let Value::Gauge(open) = sample.value { open.unsigned_abs() } else { 0 })
                .sum(),
        )
    }

    async fn shutdown(&self) {
        if let Some(handle) = self.handle.write().await.take() {
            match Arc::try_unwrap(handle) {
                Ok(handle) => {
                    let _ = tokio::task::spawn_blocking(move || handle.shutdown()).await;
                }
                // Still draining in a task: the process ends soon, and the threads with it.
                Err(handle) => drop(handle),
            }
        }
    }

    async fn ended(&self) -> String {
        match self.handle().await {
            Some(handle) => handle.ended().await,
            None => tokio::time::sleep(Duration::MAX).await,
        }
        "the engine was told to quit".into()
    }
}
