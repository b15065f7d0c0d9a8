//! How each role lives: logging, signals, readiness, metrics registry, admin HTTP skeleton.

pub mod admin;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
