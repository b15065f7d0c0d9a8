//! Admission webhooks: injection and validation.

mod inject;
mod register;
mod review;
mod validate;

pub use register::Registrar;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::metrics::Metrics;
use crate::sources::Settings;

/// An admission request holds the object twice at most, and the API server's own limit for one is 3 MB.
const MAX_BODY: usize = 7 << 20;

/// What the webhooks need.
#[derive(Clone)]
pub struct Webhooks {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Webhooks {
    /// `/inject[/…]`, `/validate[/…]`, `/ready`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/inject", post(inject::handle))
            .route("/inject/{*path}", post(inject::handle))
            .route("/validate", post(validate::handle))
            .route("/validate/{*path}", post(validate::handle))
            .route("/ready", get(async || "ready\n"))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }
}

#[cfg(test)]
mod tests;
