//! `helloworld`: says its version and its pod, on port 5000.

use axum::Router;
use axum::routing::get;

use crate::serve::{env, env_port};

/// Serves until told to stop.
pub async fn run() -> anyhow::Result<()> {
    let line = format!(
        "Hello version: {}, instance: {}\n",
        env("SERVICE_VERSION", "v1"),
        env("HOSTNAME", "unknown")
    );
    let router = Router::new()
        .route("/hello", get(move || async move { line }))
        .route("/health", get(|| async { "Helloworld is healthy" }));
    crate::serve::http(env_port("PORT", 5000), router).await
}
