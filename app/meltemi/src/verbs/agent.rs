//! The agent and the proxy, called `pilot-agent` in the istio-proxy and istio-init containers.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the agent's verb: `proxy`, `istio-iptables`, `request`, `wait` or `version`.
pub fn run(_arguments: Vec<OsString>) -> ExitCode {
    eprintln!("Error: the agent is not linked into this build yet");
    ExitCode::FAILURE
}
