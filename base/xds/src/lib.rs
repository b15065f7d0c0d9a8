//! The xDS protocol as two state machines (server and client; state-of-the-world and delta) and their gRPC adapters.
//!
//! The machines are pure: requests and resources in, responses and requests out. They know names, versions and
//! nonces, never what a resource means. The adapters add streams, time and back-off.

pub mod client;
pub mod resource;
pub mod server;

pub use resource::{Resource, ResourceSet, Subscription};
