//! `status`: whether the local cluster runs, and where everything is.

use std::path::PathBuf;
use std::process::ExitCode;

use meltemi_node::launch;
use serde::Serialize;

use crate::local::place::Place;
use crate::local::summary::Summary;
use crate::render::Format;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi status\n  meltemi status -o json\n\nThe exit code is 0 when a cluster runs, 3 when none does."
)]
pub struct Args {
    /// Where the cluster's objects and logs live [default: ~/.local/share/meltemi].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Serialize)]
struct Status {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(flatten)]
    summary: Option<Summary>,
}

/// Prints the status.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = Place::new(args.data_dir.as_deref())?;
    let running = launch::running(place.root());
    let summary = running.and_then(|_| Summary::read(&place).ok());
    let status = Status { running: running.is_some(), pid: running.map(|running| running.pid), summary };
    match args.output.structured(&status) {
        Some(text) => println!("{text}"),
        None => print!("{}", text(&status, &place)),
    }
    Ok(ExitCode::from(if status.running { 0 } else { 3 }))
}

fn text(status: &Status, place: &Place) -> String {
    match (status.pid, &status.summary) {
        (Some(pid), Some(summary)) => format!("running (process {pid})\n{}", summary.text()),
        (Some(pid), None) => format!("starting (process {pid}); its log is {}\n", place.log().display()),
        (None, _) => "not running; start it with `meltemi up`\n".to_owned(),
    }
}
