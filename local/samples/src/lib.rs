//! Bookinfo, httpbin, echo, curl and friends as functions of one binary.

use std::process::ExitCode;

/// Whether a program of this name is one of ours.
pub fn is_applet(name: &str) -> bool {
    name == "curl"
}

/// Runs a sample to its end.
pub fn run(applet: &str, _args: Vec<String>) -> ExitCode {
    eprintln!("Error: unknown sample {applet}");
    ExitCode::FAILURE
}
