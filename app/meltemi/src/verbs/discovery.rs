//! `discovery`: the control plane, called `pilot-discovery` in the istiod container.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs istiod until it is told to stop.
pub fn run(_arguments: Vec<OsString>) -> ExitCode {
    eprintln!("Error: the control plane is not linked into this build yet");
    ExitCode::FAILURE
}
