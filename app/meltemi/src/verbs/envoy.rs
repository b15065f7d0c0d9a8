//! `envoy`: the engine by itself, on an Envoy bootstrap that somebody wrote, with the flags that Envoy has.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use meltemi_process::{logging, memory, shutdown};
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proxy::engine::{Engine, Options, bootstrap};
use prost::Message as _;

/// Run the engine on an Envoy bootstrap (YAML or JSON), without agent and mesh.
#[derive(Debug, Parser)]
#[command(name = "envoy", version = meltemi_proto::version::MELTEMI, after_help = "Examples:\n  meltemi envoy -c simple.yaml\n  meltemi envoy --config-yaml \"$(cat simple.yaml)\" --concurrency 1 -l debug")]
struct Cli {
    /// File that holds the bootstrap.
    #[arg(short = 'c', long, value_name = "FILE", required_unless_present = "config_yaml")]
    config_path: Option<PathBuf>,
    /// The bootstrap itself; with a file, what is merged over it.
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
    /// Serve, or only check the configuration.
    #[arg(long, value_name = "MODE", default_value = "serve")]
    mode: Mode,
    /// Worker threads; one for each core if not given.
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<usize>,
    /// How long connections may take to finish when their listener goes, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    drain_time_s: u64,
    /// Least severe level that is logged.
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "info")]
    log_level: Level,
    /// Name of this node, instead of the bootstrap's.
    #[arg(long, value_name = "ID")]
    service_node: Option<String>,
    /// Cluster of this node, instead of the bootstrap's.
    #[arg(long, value_name = "NAME")]
    service_cluster: Option<String>,
    /// Zone of this node, instead of the bootstrap's.
    #[arg(long, value_name = "ZONE")]
    service_zone: Option<String>,
    /// File to write the address of the admin interface into.
    #[arg(long, value_name = "FILE")]
    admin_address_path: Option<PathBuf>,
    #[command(flatten)]
    unused: Unused,
}

/// Flags of Envoy's that mean nothing here, so that command lines written for it work: there is no hot restart, and one
/// level for all of the log.
#[derive(Debug, clap::Args)]
struct Unused {
    #[arg(long, hide = true)]
    base_id: Option<u32>,
    #[arg(long, hide = true)]
    use_dynamic_base_id: bool,
    #[arg(long, hide = true)]
    restart_epoch: Option<u32>,
    #[arg(long, hide = true)]
    disable_hot_restart: bool,
    #[arg(long, hide = true)]
    parent_shutdown_time_s: Option<u64>,
    #[arg(long, hide = true)]
    drain_strategy: Option<String>,
    #[arg(long, hide = true)]
    component_log_level: Option<String>,
    #[arg(long, hide = true)]
    log_format: Option<String>,
    #[arg(long, hide = true)]
    file_flush_interval_msec: Option<u64>,
}

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Serve,
    Validate,
}

/// Envoy's names of levels.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    Error,
    Critical,
    Off,
}

impl Level {
    /// The same level, as our logs call it.
    fn scope(self) -> &'static str {
        match self {
            Self::Trace => "default:trace",
            Self::Debug => "default:debug",
            Self::Info => "default:info",
            Self::Warning => "default:warn",
            Self::Error => "default:error",
            Self::Critical => "default:fatal",
            Self::Off => "default:none",
        }
    }
}

/// Runs the engine until it is told to stop.
pub fn run(mut arguments: Vec<OsString>) -> ExitCode {
    // Called `meltemi envoy …`: what follows is as if it were called `envoy …`.
    if arguments.get(1).is_some_and(|first| first == "envoy") {
        arguments.remove(0);
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match serve(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: Cli) -> anyhow::Result<()> {
    logging::init(&logging::LogOptions {
        output_level: cli.log_level.scope().to_owned(),
        json: false,
        target: logging::Target::Stderr,
    })?;
    let bootstrap = cli.bootstrap()?;
    let options = Options {
        concurrency: cli.concurrency.unwrap_or(0),
        drain_time: Duration::from_secs(cli.drain_time_s),
        ..Options::default()
    };
    if cli.mode == Mode::Validate {
        Engine::validate(&bootstrap, &options)?;
        let name = cli.config_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        println!("configuration '{name}' OK");
        return Ok(());
    }
    let engine = Engine::start(bootstrap, options)?;
    if let (Some(path), Some(address)) = (&cli.admin_address_path, engine.admin_address()) {
        std::fs::write(path, address.to_string()).with_context(|| path.display().to_string())?;
    }
    // What read the bootstrap is not needed again, unless somebody asks for a dump.
    meltemi_proto::json::forget();
    crate::allocator::give_back();
    memory::forget_start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = shutdown::signals()?;
        tokio::select! {
            () = stop.requested() => {}
            () = engine.ended() => {}
        }
        anyhow::Ok(())
    })?;
    engine.shutdown();
    Ok(())
}

impl Cli {
    fn bootstrap(&self) -> anyhow::Result<Bootstrap> {
        let mut bootstrap = match (&self.config_path, &self.config_yaml) {
            (Some(path), _) => bootstrap::load(path).with_context(|| path.display().to_string())?,
            (None, Some(_)) => Bootstrap::default(),
            (None, None) => anyhow::bail!("no bootstrap: name a file with --config-path"),
        };
        if let Some(text) = &self.config_yaml {
            let more = bootstrap::parse(text).context("--config-yaml")?;
            // As messages merge: fields replace, lists grow.
            bootstrap.merge(more.encode_to_vec().as_slice())?;
        }
        if let Some(id) = &self.service_node {
            bootstrap.node.get_or_insert_default().id.clone_from(id);
        }
        if let Some(cluster) = &self.service_cluster {
            bootstrap.node.get_or_insert_default().cluster.clone_from(cluster);
        }
        if let Some(zone) = &self.service_zone {
            bootstrap.node.get_or_insert_default().locality.get_or_insert_default().zone.clone_from(zone);
        }
        Ok(bootstrap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_name_the_node() {
        let cli = Cli::try_parse_from([
            "envoy",
            "--config-yaml",
            "node: { id: a, cluster: b }",
            "--service-node",
            "c",
            "-l",
            "warning",
        ]);
        let node = cli.unwrap().bootstrap().unwrap().node.unwrap();
        assert_eq!((node.id.as_str(), node.cluster.as_str()), ("c", "b"));
    }

    #[test]
    fn a_bootstrap_is_needed_and_more_is_merged_over_it() {
        assert!(Cli::try_parse_from(["envoy"]).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.yaml");
        std::fs::write(&path, "node: { id: a, cluster: b }\nstatic_resources: { clusters: [{ name: one }] }")
            .unwrap();
        let more = "node: { cluster: c }\nstatic_resources: { clusters: [{ name: two }] }";
        let words =
            ["envoy".as_ref(), "-c".as_ref(), path.as_os_str(), "--config-yaml".as_ref(), more.as_ref()];
        let merged = Cli::try_parse_from(words).unwrap().bootstrap().unwrap();
        let node = merged.node.unwrap();
        assert_eq!((node.id.as_str(), node.cluster.as_str()), ("a", "c"));
        let clusters = merged.static_resources.unwrap().clusters;
        assert_eq!(clusters.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn a_wrong_field_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.yaml");
        std::fs::write(&path, "static_resource: {}").unwrap();
        let cli = Cli::try_parse_from(["envoy".as_ref(), "-c".as_ref(), path.as_os_str()]).unwrap();
        let error = format!("{:#}", cli.bootstrap().unwrap_err());
        assert!(error.contains("wrong.yaml") && error.contains("static_resource"), "{error}");
    }
}
