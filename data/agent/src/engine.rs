//! Our engine as the proxy, in this process and on threads of its own.

use std::sync::{Arc, Mutex, PoisonError};

use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3::Extension;
use meltemi_proxy::engine::{Engine, Handle, Options};
use meltemi_proxy::telemetry::stats::group::Value;
use meltemi_proxy::telemetry::stats::registry::Sample;

use crate::admin::is_client_gauge;
use crate::data_plane::{DataPlane, StartOptions, Starter};
use crate::istiod::Failure;

/// Worker threads where nothing is said, as Istio's sidecars have.
const WORKERS: usize = 2;

/// Starts the engine in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

#[tonic::async_trait]
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
        // The engine resolves names and binds ports while it starts.
        let handle = tokio::task::spawn_blocking(move || Engine::start(bootstrap, options)).await??;
        Ok(Arc::new(Running { handle: Mutex::new(Some(Arc::new(handle))) }))
    }
}

struct Running {
    /// Taken at the end: dropping the last handle ends the engine.
    handle: Mutex<Option<Arc<Handle>>>,
}

impl Running {
    fn handle(&self) -> Option<Arc<Handle>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl DataPlane for Running {
    async fn ready(&self) -> Result<(), String> {
        match self.handle() {
            Some(handle) if handle.is_ready() => Ok(()),
            Some(_) => Err("the first whole configuration has not arrived yet".to_owned()),
            None => Err("the engine has ended".to_owned()),
        }
    }

    async fn drain(&self) {
        if let Some(handle) = self.handle() {
            handle.announce_drain();
        }
    }

    async fn active_connections(&self) -> Option<u64> {
        let handle = self.handle()?;
        let samples = handle.stats().samples();
        let open = |sample: &Sample| match sample.value {
            Value::Gauge(open) if is_client_gauge(&sample.name) => open.unsigned_abs(),
            _ => 0,
        };
        Some(samples.iter().map(open).sum())
    }

    async fn shutdown(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Ending waits for threads; whoever still asks for readiness holds a handle for a moment only.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(handle)).await {
            tracing::warn!(%error, "the engine did not end cleanly");
        }
    }

    async fn ended(&self) -> String {
        match self.handle() {
            Some(handle) => handle.ended().await,
            None => std::future::pending().await,
        }
        "the engine was asked to quit on its admin interface".to_owned()
    }
}
