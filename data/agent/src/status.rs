//! The agent's HTTP server on 15020: readiness, metrics, application probes, quitting and draining.

mod grpc_health;
mod metrics;
mod probe;
mod scrape;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use meltemi_process::admin;
use meltemi_process::readiness::Readiness;
use meltemi_process::shutdown::Shutdown;
pub use metrics::AgentMetrics;
pub use probe::{ProbeError, Probers};
pub use scrape::{Scrapes, application};
use tokio::sync::Notify;

use crate::data_plane::DataPlane;

/// What the server answers from.
#[derive(Clone)]
pub struct Status {
    /// Is the agent ready?
    pub readiness: Readiness,
    /// The proxy, which is asked whether it is ready, too.
    pub proxy: Option<Arc<dyn DataPlane>>,
    /// When the agent was started.
    pub started: Instant,
    /// Application probes.
    pub probers: Arc<Probers>,
    /// Sources of metrics.
    pub scrapes: Arc<Scrapes>,
    /// Ends the agent.
    pub quit: Shutdown,
    /// Begins to drain without ending.
    pub drain: Arc<Notify>,
}

/// The routes.
pub fn router(status: Status) -> Router {
    Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(stats))
        .route("/metrics", get(stats))
        .route("/quitquitquit", post(quit))
        .route("/drain", post(drain))
        .route("/app-health/{container}/{probe}", any(app_probe))
        .route("/app-lifecycle/{container}/{hook}", any(app_probe))
        .with_state(status)
}

async fn ready(State(status): State<Status>) -> Response {
    if let Some(proxy) = &status.proxy
        && let Err(reason) = proxy.ready().await
    {
        let missing = status.readiness.missing().join("\n");
        let text = format!("proxy: {reason}\n{missing}");
        return (StatusCode::SERVICE_UNAVAILABLE, text.trim_end().to_owned() + "\n").into_response();
    }
    let startup = &status.scrapes.metrics.startup_duration;
    if status.readiness.is_ready() && startup.get() == 0.0 {
        startup.set(status.started.elapsed().as_secs_f64());
    }
    admin::ready_response(&status.readiness)
}

async fn stats(State(status): State<Status>, request: Request) -> Response {
    let page = status.scrapes.page(request.headers()).await;
    ([(CONTENT_TYPE, page.content_type)], page.body).into_response()
}

/// Only the pod itself may end its proxy.
fn refuse_outsider(peer: SocketAddr) -> Option<Response> {
    let text = "only requests from within the pod (localhost) are allowed\n";
    (!peer.ip().to_canonical().is_loopback()).then(|| (StatusCode::FORBIDDEN, text).into_response())
}

async fn quit(State(status): State<Status>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if let Some(refusal) = refuse_outsider(peer) {
        return refusal;
    }
    tracing::info!("asked to quit by /quitquitquit");
    status.quit.request();
    (StatusCode::OK, "OK\n").into_response()
}

async fn drain(State(status): State<Status>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if let Some(refusal) = refuse_outsider(peer) {
        return refusal;
    }
    status.drain.notify_one();
    (StatusCode::OK, "OK\n").into_response()
}

async fn app_probe(
    State(status): State<Status>,
    Path((container, probe)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let path = head.uri.path();
    match status.probers.run(path, &head.headers).await {
        Some(answer) => answer,
        None => {
            let text = format!("no probe {probe} of container {container} was rewritten to this agent\n");
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
