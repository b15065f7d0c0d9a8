//! `manifest`: what an installation would apply, as YAML.

use std::process::ExitCode;

use super::install::{self, What, component};
use crate::cli::Global;

/// Arguments of `manifest`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with manifests.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Print everything that `install` would apply.
    Generate {
        /// What is rendered.
        #[command(flatten)]
        what: What,
        /// Only these components: Base, Pilot, IngressGateways, EgressGateways.
        #[arg(long, hide = true, value_delimiter = ',')]
        filter: Vec<String>,
    },
    /// The same as `install`.
    Install(install::Args),
}

/// Prints or installs.
///
/// # Errors
/// When the request cannot be understood or a chart does not render.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Install(args) => return install::run(args, global).await,
        Action::Generate { what, filter } => {
            let operator = what.operator()?;
            for part in component::render(&operator)? {
                if !filter.is_empty() && !filter.iter().any(|name| name == part.component.label()) {
                    continue;
                }
                for object in &part.objects {
                    println!("{}---", meltemi_config::yaml::write(object));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
