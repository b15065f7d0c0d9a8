//! Sources, hub (sole owner of World), push, ADS, CA, webhooks, status, debug.
//!
//! ```text
//! Kubernetes ──watches──▶ sources ──Event──▶ hub (World, debounce) ──Push──▶ a session per proxy ──▶ xds server
//!                                             │ News
//!                                             ├──▶ status (conditions in objects)
//!                                             └──▶ ca::RootConfigMaps (the root in every namespace)
//! ```

mod access;
mod ads;
mod authenticate;
mod backoff;
mod ca;
mod connections;
mod debug;
mod https;
mod hub;
mod metrics;
mod objects;
mod options;
mod peer;
mod resources;
mod run;
mod sources;
mod status;
mod token;
mod webhook;

pub use options::Options;
pub use run::{run, run_with};

#[cfg(test)]
mod tests;
