//! The HTTP server that every role has for its operators.

use std::io;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::metrics::Registry;
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;

/// Serves `router` until `shutdown`, then lets requests in flight finish.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.requested().await }).await
}

/// The answer to a readiness probe: 200, or 503 with what is missing.
pub fn ready_response(readiness: &Readiness) -> Response {
    let missing = readiness.missing();
    if missing.is_empty() {
        return (http::StatusCode::OK, "ready\n").into_response();
    }
    (http::StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}

/// The answer to a Prometheus scrape.
pub fn metrics_response(registry: &Registry) -> Response {
    ([(CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], registry.encode()).into_response()
}
