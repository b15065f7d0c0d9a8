//! The engine: an Envoy bootstrap and xDS in, traffic out.
//!
//! Modules, each using only those before it:
//! `base → net → matcher → tls → http1, http2 → upstream → telemetry → route → failure → filters → http → tcp → listener → feed → admin → engine`.
//! The leaves of [`telemetry`] (`stats`: names and numbers, `info`: records, `istio::peer`) know nothing above `base`, so every
//! floor may count and fill with them.
//!
//! Resources are *compiled* (`compile.rs` in each module: proto → immutable value) on the control thread, put into
//! [`base::slot::Slot`]s, and only read by the workers. `docs/life-of-a-request.md` walks through the rest.

pub mod admin;
pub mod base;
pub mod engine;
pub mod failure;
pub mod feed;
pub mod filters;
pub mod http;
mod http1;
mod http2;
pub mod listener;
pub mod matcher;
pub mod net;
pub mod route;
pub mod tcp;
pub mod telemetry;
pub mod tls;
pub mod upstream;
