//! What surrounds the engine in a pod: bootstrap, token, CSR to SDS, DNS, probes, metrics merge, traffic capture.

pub mod bootstrap;
pub mod capture;
pub mod cli;
pub mod environment;
pub mod settings;
