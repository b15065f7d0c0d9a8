//! The command line: its verbs, the flags they share, and how an error reaches the user.

mod kubeconfig;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::verbs;

/// A service mesh: every Istio YAML and command you know, whole on one machine or on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "meltemi", version = verbs::version::SHORT, propagate_version = false, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Flags that every verb understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  meltemi up --demo bookinfo          A cluster, the mesh and Bookinfo on this machine
  meltemi status                      Where everything is
  meltemi install --set profile=demo  Install the mesh into the current Kubernetes cluster
  meltemi proxy-status                Is every proxy in sync?
  meltemi down                        Stop, and leave nothing behind";

/// Flags that every verb understands, named as istioctl's.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Kubernetes configuration file [default: those that KUBECONFIG names, or ~/.kube/config].
    #[arg(short = 'c', long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Kubernetes configuration context.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Namespace of the resource [default: the context's].
    #[arg(short = 'n', long, global = true)]
    pub namespace: Option<String>,
    /// Namespace that the control plane runs in.
    #[arg(short = 'i', long = "istioNamespace", global = true, default_value = "istio-system")]
    pub istio_namespace: String,
}

impl Global {
    /// A client for the cluster that the flags and `KUBECONFIG` name.
    ///
    /// # Errors
    /// When the file is missing or does not hold the context; the message says which and what to do.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        use anyhow::Context as _;
        let options = kube::config::KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let config = match kubeconfig::read(self.kubeconfig.as_deref())? {
            Some(file) => kube::Config::from_custom_kubeconfig(file, &options).await?,
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options).await?,
            None => kube::Config::infer()
                .await
                .context("no cluster found: set KUBECONFIG, or start a local cluster with `meltemi up`")?,
        };
        Ok(kube::Client::try_from(config)?)
    }

    /// The namespace to work in: the flag's, the context's, or `default`.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// Without the flag, the namespace is that of the context.
    fn complete(&mut self) {
        if self.namespace.is_none() {
            // Many verbs need no cluster; those that do say what is wrong with its file.
            let config = kubeconfig::read(self.kubeconfig.as_deref()).ok().flatten();
            self.namespace =
                config.and_then(|config| kubeconfig::namespace(&config, self.context.as_deref()));
        }
    }
}

/// Everything the command line can do, one file a verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a cluster, the mesh and a demo on this machine.
    Up(verbs::up::Args),
    /// Stop the local cluster.
    Down(verbs::down::Args),
    /// Say whether the local cluster runs, and where everything is.
    Status(verbs::status::Args),
    /// Install the mesh into a cluster.
    #[command(visible_alias = "upgrade")]
    Install(verbs::install::Args),
    /// Take the mesh out of a cluster.
    Uninstall(verbs::uninstall::Args),
    /// List the installation profiles, or print one.
    Profile(verbs::profile::Args),
    /// Print what an installation would apply.
    Manifest(verbs::manifest::Args),
    /// Find what is wrong with the objects of files and of a cluster.
    Analyze(verbs::analyze::Args),
    /// Say whether files hold what the mesh would take.
    #[command(visible_alias = "v")]
    Validate(verbs::validate::Args),
    /// Say whether every proxy has the configuration that the control plane last sent.
    #[command(visible_alias = "ps")]
    ProxyStatus(verbs::proxy_status::Args),
    /// Show the configuration of a proxy.
    #[command(visible_alias = "pc")]
    ProxyConfig(verbs::proxy_config::Args),
    /// Put the sidecar into manifests.
    KubeInject(verbs::kube_inject::Args),
    /// Print the shell completion script.
    Completion(verbs::completion::Args),
    /// Print versions of the client, the control plane and the proxies.
    Version(verbs::version::Args),
}

/// Parses and runs the command line.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {}", shown(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes; of the API server's refusals their own words, which say it all.
fn shown(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            parts.push(status.message.clone());
            break;
        }
        parts.push(cause.to_string());
    }
    parts.join(": ")
}

fn dispatch(mut cli: Cli) -> anyhow::Result<ExitCode> {
    cli.global.complete();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match cli.verb {
        Verb::Up(args) => verbs::up::run(&args),
        Verb::Down(args) => verbs::down::run(&args),
        Verb::Status(args) => verbs::status::run(&args),
        Verb::Install(args) => runtime()?.block_on(verbs::install::run(&args, &cli.global)),
        Verb::Uninstall(args) => runtime()?.block_on(verbs::uninstall::run(&args, &cli.global)),
        Verb::Profile(args) => verbs::profile::run(&args),
        Verb::Manifest(args) => runtime()?.block_on(verbs::manifest::run(&args, &cli.global)),
        Verb::Analyze(args) => runtime()?.block_on(verbs::analyze::run(&args, &cli.global)),
        Verb::Validate(args) => verbs::validate::run(&args, &cli.global),
        Verb::ProxyStatus(args) => runtime()?.block_on(verbs::proxy_status::run(&args, &cli.global)),
        Verb::ProxyConfig(args) => runtime()?.block_on(verbs::proxy_config::run(&args, &cli.global)),
        Verb::KubeInject(args) => runtime()?.block_on(verbs::kube_inject::run(&args, &cli.global)),
        Verb::Completion(args) => verbs::completion::run(&args),
        Verb::Version(args) => runtime()?.block_on(verbs::version::run(&args, &cli.global)),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    #[test]
    fn the_api_servers_words_are_shown_once() {
        let status = kube::core::Status::failure("pods is forbidden: no", "Forbidden").with_code(403).boxed();
        let refused: Result<(), _> = Err(kube::Error::Api(status));
        let error = refused.context("cannot list pods").unwrap_err();
        assert_eq!(super::shown(&error), "cannot list pods: pods is forbidden: no");
    }
}
