//! `meltemi envoy`: our engine where people run Envoy without a mesh, on files that they wrote and under a control plane that
//! is not ours. Each test runs real Envoy, too, on the same input: both must do the same.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod ads;
mod client;
mod command_line;
mod hand_written;
mod proxy;
mod upstream;
