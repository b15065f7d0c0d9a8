//! `install`: the mesh into a cluster, by profile, file and flags, with the lines that users of istioctl know.

pub mod charts;
pub mod cluster;
pub mod component;
pub mod operator;
pub mod run;
pub mod template;
pub mod values;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use meltemi_proto::version::ISTIO_COMPAT;
use owo_colors::{OwoColorize as _, Stream};

use crate::cli::Global;
use operator::{Operator, Request};
use run::Step;

/// Arguments of `install`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi install --set profile=demo -y\n  meltemi install -f operator.yaml --set meshConfig.accessLogFile=/dev/stdout\n  meltemi install --set revision=canary --dry-run"
)]
pub struct Args {
    /// What is installed.
    #[command(flatten)]
    pub what: What,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub skip_confirmation: bool,
    /// Show what would be installed, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on where the cluster's version is too old.
    #[arg(long)]
    pub force: bool,
    /// How long a component may take to become ready.
    #[arg(long, default_value = "300s", value_parser = duration, value_name = "DURATION")]
    pub readiness_timeout: Duration,
}

/// Which installation: profile, files and flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct What {
    /// IstioOperator file; `-` is standard input (repeatable).
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Sets a field, such as profile=demo or values.global.hub=docker.io/istio (repeatable).
    #[arg(short = 's', long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Revision of the control plane.
    #[arg(short = 'r', long)]
    pub revision: Option<String>,
}

impl What {
    /// The merged IstioOperator.
    ///
    /// # Errors
    /// As [`Operator::load`].
    pub fn operator(&self) -> anyhow::Result<Operator> {
        let request =
            Request { files: self.files.clone(), sets: self.sets.clone(), revision: self.revision.clone() };
        let operator = Operator::load(&request)?;
        for warning in operator.warnings() {
            eprintln!("! {warning}");
        }
        Ok(operator)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<meltemi_config::Duration>()
        .map(meltemi_config::Duration::to_std)
        .map_err(|error| error.to_string())
}

/// A sail.
const SAIL: &str = r"        |\
        | \
        |  \
        |   \
      /||    \
     / ||     \
    /  ||      \
   /   ||       \
  /    ||        \
 /     ||         \
/______||__________\
____________________
  \__       _____/
     \_____/
";

/// The oldest minor version of Kubernetes 1 that is supported.
const MINIMUM_KUBERNETES: u32 = 28;

/// Installs.
///
/// # Errors
/// When the request cannot be understood, the cluster not be reached, or a component does not become ready.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let operator = args.what.operator()?;
    if args.dry_run {
        return dry_run(&operator);
    }
    println!("{SAIL}");
    let client = global.client().await?;
    check_version(&client, args.force).await?;
    if let Some(running) = cluster::running_version(&client, operator.namespace(), operator.revision()).await
        && running != operator.tag()
    {
        println!("WARNING: Istio is being upgraded from {running} to {}.", operator.tag());
        println!(
            "         Before upgrading, you may wish to use 'istioctl x precheck' to check for upgrade warnings."
        );
    }
    let question = format!(
        "This will install the Istio {} profile {:?} into the cluster. Proceed? (y/N) ",
        operator.tag(),
        operator.profile_name()
    );
    if !args.skip_confirmation && !confirm(&question)? {
        println!("Cancelled.");
        return Ok(ExitCode::FAILURE);
    }
    let mut screen = Screen::new();
    let installed =
        run::install(&client, &operator, args.readiness_timeout, &mut |step| screen.show(&step)).await;
    screen.clear();
    match installed {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => bail!("failed to install manifests: {error:#}"),
    }
}

fn dry_run(operator: &Operator) -> anyhow::Result<ExitCode> {
    for part in component::render(operator)? {
        for object in &part.objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            println!("would apply {} {name}", object["kind"].as_str().unwrap_or_default());
        }
        println!("{} (dry run)", Step::Installed(part.component));
    }
    println!("{} (dry run)", Step::Complete);
    Ok(ExitCode::SUCCESS)
}

async fn check_version(client: &kube::Client, force: bool) -> anyhow::Result<()> {
    let version = client.apiserver_version().await?;
    let minor: u32 = version.minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    if version.major == "1" && minor < MINIMUM_KUBERNETES {
        let message = format!(
            "The Kubernetes version {} is not supported by Istio {ISTIO_COMPAT}. The minimum supported Kubernetes version is 1.{MINIMUM_KUBERNETES}.",
            version.git_version
        );
        if !force {
            bail!("{message} Upgrade the cluster, or proceed with --force");
        }
        println!("WARNING: {message}");
    }
    Ok(())
}

/// Asks on the terminal; only `y` and `yes` mean yes.
///
/// # Errors
/// When the terminal cannot be written to or read.
pub fn confirm(question: &str) -> anyhow::Result<bool> {
    print!("{question}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Lasting lines, and one that moves while something is waited for.
struct Screen {
    spinner: Option<ProgressBar>,
    terminal: bool,
}

impl Screen {
    fn new() -> Self {
        Self { spinner: None, terminal: std::io::stdout().is_terminal() }
    }

    fn show(&mut self, step: &Step) {
        if step.is_lasting() {
            self.clear();
            let text = step.to_string();
            match text.split_once(' ') {
                Some((mark @ "✔", rest)) => {
                    println!("{} {rest}", mark.if_supports_color(Stream::Stdout, |m| m.green()))
                }
                Some((mark @ "✘", rest)) => {
                    println!("{} {rest}", mark.if_supports_color(Stream::Stdout, |m| m.red()))
                }
                _ => println!("{text}"),
            }
        } else if self.terminal {
            let spinner = self.spinner.get_or_insert_with(spinner);
            spinner.set_message(step.to_string().trim_start_matches("- ").to_owned());
        }
    }

    fn clear(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        spinner.set_style(style.tick_strings(&["-", "\\", "|", "/", "-"]));
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

#[cfg(test)]
mod tests {
    use super::component::Component;
    use super::*;

    #[test]
    fn the_lines_are_istioctls() {
        for (step, line) in [
            (Step::Installed(Component::Base), "✔ Istio core installed ⛵️"),
            (Step::Installed(Component::Pilot), "✔ Istiod installed 🧠"),
            (Step::Installed(Component::EgressGateways), "✔ Egress gateways installed 🛫"),
            (Step::Installed(Component::IngressGateways), "✔ Ingress gateways installed 🛬"),
            (Step::Complete, "✔ Installation complete"),
            (
                Step::Waiting(Component::Pilot, vec!["Deployment/istio-system/istiod".into()]),
                "- Processing resources for Istiod. Waiting for Deployment/istio-system/istiod",
            ),
            (Step::Failed(Component::Pilot, "no".into()), "✘ Istiod encountered an error: no"),
        ] {
            assert_eq!(step.to_string(), line);
        }
    }
}
