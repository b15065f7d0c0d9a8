//! `down`: stops the local cluster, and leaves nothing behind.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use meltemi_node::launch;

use crate::local::place::Place;

/// How long pods may take to end before they are killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `down`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  meltemi down\n  meltemi down --purge --data-dir /tmp/lab")]
pub struct Args {
    /// Where the cluster's objects and logs live [default: ~/.local/share/meltemi].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Also remove the cluster's objects and logs.
    #[arg(long)]
    purge: bool,
}

/// Stops the cluster.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = Place::new(args.data_dir.as_deref())?;
    let stopped = launch::stop(place.root(), PATIENCE)?;
    let _ = std::fs::remove_file(place.summary());
    println!("{}", if stopped { "Stopped." } else { "No cluster was running." });
    if args.purge && place.root().exists() {
        // A directory that is not ours is never removed, whatever --data-dir says.
        anyhow::ensure!(
            place.root().join("lock").exists(),
            "{} does not look like a cluster's directory; remove it yourself if it is not needed",
            place.root().display()
        );
        std::fs::remove_dir_all(place.root())
            .with_context(|| format!("cannot remove {}", place.root().display()))?;
        println!("Removed {}.", place.root().display());
    }
    Ok(ExitCode::SUCCESS)
}
