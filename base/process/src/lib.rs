//! How each role lives: logging, signals, drain, readiness, metrics registry, admin HTTP skeleton.
