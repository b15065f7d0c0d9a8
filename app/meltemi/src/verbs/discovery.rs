//! `discovery`: the control plane, called `pilot-discovery` in the istiod container.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use meltemi_istiod::Options;
use meltemi_process::{logging, shutdown};

/// The control plane of the mesh.
#[derive(Debug, Parser)]
#[command(name = "pilot-discovery", version = meltemi_proto::version::ISTIO_COMPAT, after_help = "Examples:\n  pilot-discovery discovery --monitoringAddr=:15014\n  meltemi discovery --kubeconfig ~/.kube/config")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run istiod.
    Discovery(Box<Options>),
    /// Print the version.
    Version,
}

/// Runs istiod until it is told to stop.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.verb {
        Verb::Version => {
            println!("{}", meltemi_proto::version::ISTIO_COMPAT);
            ExitCode::SUCCESS
        }
        Verb::Discovery(options) => match serve(*options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("Error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn serve(options: Options) -> anyhow::Result<()> {
    logging::init(&logging::LogOptions {
        output_level: options.log_output_level.clone(),
        json: options.log_as_json,
        ..Default::default()
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { meltemi_istiod::run(options, shutdown::signals()?).await })
}
