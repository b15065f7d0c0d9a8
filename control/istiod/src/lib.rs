//! Sources, hub (sole owner of World), push, ADS, CA, webhooks, status, debug.

mod ads;
mod authenticate;
mod ca;
mod connections;
mod https;
mod hub;
mod metrics;
mod options;
mod peer;
mod resources;
mod sources;
mod token;
mod webhook;

pub use options::Options;
