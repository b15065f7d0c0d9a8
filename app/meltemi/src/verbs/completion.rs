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
    clap_complete::generate(args.shell, &mut command, "meltemi", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
