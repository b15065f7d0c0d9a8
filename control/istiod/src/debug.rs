//! HTTP for operators: `/ready`, `/version`, `/metrics`, and `/debug/…` for those with authority.

mod authority;
mod config;
mod proxies;
mod registry;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use meltemi_process::admin;
use meltemi_process::readiness::Readiness;
use meltemi_proto::version;
use serde_json::{Value, json};

use crate::hub::{Handle, Published};
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::resources::Cache;
use crate::sources::Settings;
use crate::token::ReviewTokens;

/// What the pages show.
#[derive(Clone)]
pub struct Debug {
    /// Snapshots and connections.
    pub hub: Handle,
    /// Istio objects.
    pub objects: Objects,
    /// Settings in force.
    pub settings: Arc<Settings>,
    /// Resources as proxies get them.
    pub cache: Arc<Cache>,
    /// Whether istiod is ready.
    pub readiness: Readiness,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Checks who asks.
    pub tokens: Arc<dyn ReviewTokens>,
    /// Accounts of this namespace may ask.
    pub namespace: Arc<str>,
    /// The cluster's name.
    pub cluster_id: Arc<str>,
}

/// Pages under `/debug`, with what they show.
const PAGES: [(&str, &str); 14] = [
    ("adsz", "Connected proxies and what each has acknowledged"),
    ("config_dump", "What a proxy is sent: ?proxyID=POD.NAMESPACE"),
    ("configz", "Istio objects in force"),
    ("connections", "Connected proxies"),
    ("endpointShardz", "Endpoints by service and cluster"),
    ("endpointz", "Endpoints by service"),
    ("inject", "Injection settings"),
    ("instancesz", "Services that each connected proxy's workload serves"),
    ("list", "This list"),
    ("mesh", "Mesh configuration"),
    ("push_status", "The last snapshot"),
    ("pushcontext", "The last snapshot"),
    ("registryz", "Services"),
    ("syncz", "Whether each proxy has what it was sent"),
];

impl Debug {
    /// All pages. Requests must carry `ConnectInfo<SocketAddr>`.
    pub fn router(self) -> Router {
        let debug = Router::new()
            .route("/adsz", get(proxies::adsz))
            .route("/config_dump", get(config::dump))
            .route("/configz", get(config::configz))
            .route("/connections", get(proxies::connections))
            .route("/endpointShardz", get(registry::shards))
            .route("/endpointz", get(registry::endpoints))
            .route("/inject", get(config::inject))
            .route("/instancesz", get(proxies::instances))
            .route("/list", get(list))
            .route("/mesh", get(config::mesh))
            .route("/push_status", get(push_status))
            .route("/pushcontext", get(push_status))
            .route("/registryz", get(registry::services))
            .route("/syncz", get(proxies::syncz))
            .layer(axum::middleware::from_fn_with_state(self.clone(), authority::check));
        Router::new()
            .nest("/debug", debug)
            .route("/ready", get(ready))
            .route("/version", get(version_page))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// The snapshot, or the answer that there is none yet.
    fn current(&self) -> Result<Published, NotYet> {
        self.hub.current().ok_or(NotYet)
    }
}

/// There is no snapshot to show.
#[derive(Debug, thiserror::Error)]
#[error("istiod has not read the cluster yet")]
struct NotYet;

impl IntoResponse for NotYet {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

async fn ready(State(debug): State<Debug>) -> Response {
    admin::ready_response(&debug.readiness)
}

async fn metrics(State(debug): State<Debug>) -> Response {
    debug.metrics.refresh();
    admin::metrics_response(&debug.metrics.registry)
}

async fn version_page() -> String {
    format!("{}-{}-Meltemi\n", version::ISTIO_COMPAT, version::MELTEMI)
}

async fn list() -> axum::Json<Value> {
    axum::Json(
        PAGES.iter().map(|(name, help)| json!({"name": format!("/debug/{name}"), "help": help})).collect(),
    )
}

async fn push_status(State(debug): State<Debug>) -> Result<axum::Json<Value>, NotYet> {
    let Published { version, snapshot } = debug.current()?;
    Ok(axum::Json(json!({
        "version": version,
        "services": snapshot.services.len(),
        "virtualServices": snapshot.virtual_services.len(),
        "gateways": snapshot.gateways.len(),
        "pods": snapshot.pods.len(),
        "connections": debug.hub.connections.list().len(),
    })))
}

#[cfg(test)]
mod tests;
