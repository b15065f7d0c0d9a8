//! `up`: a cluster, the mesh and a demo on this machine, in one daemon.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use meltemi_node::launch::{self, LaunchOptions, Outcome, Report};
use owo_colors::{OwoColorize as _, Stream};

use crate::local::data_plane::{DataPlane, Proxies};
use crate::local::place::Place;
use crate::local::summary::Summary;
use crate::render::Format;

/// Arguments of `up`. The daemon gets the same.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi up --demo bookinfo\n  meltemi up --detach -o json --data-dir /tmp/lab\n  meltemi up --demo bookinfo --data-plane envoy\n  meltemi up --profile minimal --image redis='/usr/bin/redis-server --port 6379'"
)]
pub struct Args {
    /// An application to deploy and wait for.
    #[arg(long, value_enum)]
    pub demo: Option<Demo>,
    /// Return when everything is ready, and leave it running.
    #[arg(short, long)]
    pub detach: bool,
    /// Where the cluster's objects and logs live [default: ~/.local/share/meltemi].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Installation profile of the mesh; `none` leaves a plain cluster.
    #[arg(long, default_value = "demo")]
    pub profile: String,
    /// Port of the API server on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    pub api_port: u16,
    /// Runs a program of this machine for an image that is not built in (repeatable).
    #[arg(long = "image", value_name = "NAME=COMMAND")]
    pub images: Vec<String>,
    /// What sidecars and gateways run; a pod's annotation `meltemi.io/data-plane` goes before it.
    #[arg(long, value_enum, default_value = "meltemi")]
    pub data_plane: DataPlane,
    /// The Envoy to run [default: $MELTEMI_ENVOY, .tools/envoy as `make envoy` brings it, or envoy on the path].
    #[arg(long, value_name = "PATH")]
    pub envoy: Option<PathBuf>,
    /// Runs Kubernetes' own API server: etcd, kube-apiserver and kube-controller-manager of this directory.
    #[arg(long, value_name = "DIR")]
    pub kubernetes: Option<PathBuf>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Format,
}

/// The applications that `up` can deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Demo {
    /// Istio's book shop: four services, three versions of reviews.
    Bookinfo,
}

impl Args {
    /// What the cluster's proxies run.
    ///
    /// # Errors
    /// When Envoy is wished for and not found.
    pub fn proxies(&self) -> anyhow::Result<Proxies> {
        Proxies::new(self.data_plane, self.envoy.as_deref())
    }

    /// The arguments that make [`crate::local::daemon`] the same cluster.
    fn for_daemon(&self, place: &Place, proxies: &Proxies) -> Vec<String> {
        let mut args =
            vec![format!("--data-dir={}", place.root().display()), format!("--profile={}", self.profile)];
        args.push(format!("--api-port={}", self.api_port));
        if let Some(Demo::Bookinfo) = self.demo {
            args.push("--demo=bookinfo".into());
        }
        let built =
            self.kubernetes.iter().map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
        args.extend(built.map(|dir| format!("--kubernetes={}", dir.display())));
        args.extend(proxies.arguments());
        args.extend(self.images.iter().map(|image| format!("--image={image}")));
        args
    }
}

/// Starts the cluster; in the foreground it ends with the cluster.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let proxies = args.proxies()?;
    crate::local::images::BuiltIn::new(&args.images, proxies.clone())?;
    let place = Place::new(args.data_dir.as_deref())?;
    let options = LaunchOptions {
        data_dir: place.root().to_owned(),
        daemon_args: args.for_daemon(&place, &proxies),
        detach: args.detach,
    };
    let mut steps = Steps { start: Instant::now(), output: args.output };
    match launch::start(&options, &mut |report| steps.show(&report, args.detach))? {
        Outcome::Detached => Ok(ExitCode::SUCCESS),
        Outcome::Exited(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
    }
}

/// Shows how the start goes on: steps to standard error, the result to standard output.
struct Steps {
    start: Instant,
    output: Format,
}

impl Steps {
    fn show(&mut self, report: &Report, detach: bool) {
        match report {
            Report::Progress(step) => {
                let seconds = format!("{:5.1}s", self.start.elapsed().as_secs_f64());
                eprintln!("{} {step}", seconds.if_supports_color(Stream::Stderr, |text| text.dimmed()));
            }
            Report::Ready(value) => self.ready(value, detach),
            Report::Failed(reason) => eprintln!("Error: {reason}"),
        }
    }

    fn ready(&self, value: &serde_json::Value, detach: bool) {
        let Ok(summary) = serde_json::from_value::<Summary>(value.clone()) else { return };
        if let Some(text) = self.output.structured(&summary) {
            println!("{text}");
            return;
        }
        println!("\nReady in {:.1}s.\n\n{}", self.start.elapsed().as_secs_f64(), summary.text());
        println!("  export KUBECONFIG={}", summary.kubeconfig.display());
        println!("{}", if detach { "\nStop it with `meltemi down`." } else { "\nStop it with Ctrl-C." });
    }
}
