//! How each role lives: logging, signals, readiness, metrics registry, admin HTTP skeleton, memory.

pub mod admin;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
