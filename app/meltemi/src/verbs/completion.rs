//! `completion`: the script that makes a shell complete our verbs and flags.

use std::process::ExitCode;

use clap::CommandFactory as _;

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  source <(meltemi completion bash)\n  meltemi completion zsh > ~/.zfunc/_meltemi"
)]
pub struct Args {
    /// The shell to write for.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Writes the script to standard output.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = crate::cli::Cli::command();
    clap_complete::generate(args.shell, &mut command, called(), &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// The name that the shell knows us by: `meltemi`, or `istioctl` where that is a link to us.
fn called() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&first).file_name().and_then(|name| name.to_str());
    name.unwrap_or("meltemi").to_owned()
}
