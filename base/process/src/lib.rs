//! How each role lives: logging, signals, drain, readiness, metrics registry, admin HTTP skeleton.

pub mod admin;
pub mod drain;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
