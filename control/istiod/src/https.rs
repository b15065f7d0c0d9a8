//! HTTP over TLS for the webhooks.

use std::sync::Arc;

use axum::Router;
use futures_util::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peer;

/// Serves `router` until `shutdown`, then lets requests in flight finish.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut connections = peer::incoming(listener, Some(tls), shutdown.clone());
    let tracker = TaskTracker::new();
    while let Some(Ok(connection)) = connections.next().await {
        let service = TowerToHyperService::new(router.clone());
        let stop = shutdown.clone();
        tracker.spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(connection), service));
            let result = tokio::select! {
                result = served.as_mut() => result,
                () = stop.cancelled() => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "webhook connection failed");
            }
        });
    }
    tracker.close();
    tracker.wait().await;
}
