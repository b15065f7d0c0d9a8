//! The agent and the proxy, called `pilot-agent` in the istio-proxy and istio-init containers.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use meltemi_agent::engine::InProcess;

/// Runs the agent's verb: `proxy`, `istio-iptables`, `request`, `wait` or `version`.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    meltemi_agent::run(arguments, Arc::new(InProcess))
}
