//! Compares the engine with Envoy on this machine: the same configuration, one core for the proxy, interleaved rounds.

mod bootstrap;
mod load;
mod mesh;
mod process;
mod report;
mod round;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::bootstrap::Ports;
use crate::mesh::Places;
use crate::process::Pinned;
use crate::round::{LOAD_CORE, OPEN, PROXY_CORE, Place, Proxy};

/// Compare the engine with Envoy on this machine.
#[derive(Debug, Parser)]
#[command(name = "meltemi-bench")]
struct Cli {
    /// Our binary.
    #[arg(long, default_value = "target/release/meltemi")]
    meltemi: PathBuf,
    /// Envoy's binary.
    #[arg(long, env = "MELTEMI_ENVOY")]
    envoy: Option<PathBuf>,
    /// How often each proxy is measured, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long one load lasts, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: usize,
    /// Document whose tables are replaced.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Be the upstream, at this address.
    #[arg(long, hide = true)]
    upstream: Option<SocketAddr>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(address) = cli.upstream {
        return upstream::serve(address);
    }
    let envoy = cli
        .envoy
        .as_deref()
        .context("where is Envoy? Set MELTEMI_ENVOY or give --envoy; `make envoy` brings it")?;
    ensure!(cli.rounds > 0 && cli.seconds > 0, "nothing to do in 0 rounds or 0 seconds");
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores > PROXY_CORE, "two cores are needed: one for the proxy, one for the load");
    let proxies = [
        Proxy { name: "meltemi", program: cli.meltemi.clone(), arguments: vec!["envoy"], ports: ports()? },
        Proxy {
            name: "envoy",
            program: envoy.to_owned(),
            arguments: vec!["--disable-hot-restart"],
            ports: ports()?,
        },
    ];
    let rounds = rounds(&cli, &proxies)?;
    let tables = format!("{}\n{}", machine(&cli, envoy, cores)?, report::table(&rounds));
    println!("{tables}");
    cli.write.as_deref().map_or(Ok(()), |document| report::replace(document, &tables))
}

/// Every proxy once a round; who is first alternates.
fn rounds(
    cli: &Cli,
    [ours, envoy]: &[Proxy; 2],
) -> anyhow::Result<Vec<(Vec<round::Figure>, Vec<round::Figure>)>> {
    let folder = tempfile::tempdir()?;
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let arguments = ["--upstream", &upstream.to_string()];
    let log = folder.path().join("upstream.log");
    let _serving = Pinned::start(LOAD_CORE, &std::env::current_exe()?, &arguments, &log)?;
    process::listens(upstream)?;
    let places = Places { plain: ports()?, mutual: ports()?, inner: ports()? };
    let control = mesh::serve(places, upstream)?;
    let place = Place { folder: folder.path(), upstream, control, places, seconds: cli.seconds };
    let measure = |proxy: &Proxy| {
        round::measure(proxy, &place).with_context(|| {
            let log = std::fs::read_to_string(folder.path().join(format!("{}.log", proxy.name)));
            format!("{}, which said: {}", proxy.name, log.unwrap_or_default())
        })
    };
    let mut all = Vec::with_capacity(cli.rounds);
    for number in 0..cli.rounds {
        eprintln!("round {} of {}", number + 1, cli.rounds);
        if number % 2 == 0 {
            let ours = measure(ours)?;
            all.push((ours, measure(envoy)?));
        } else {
            let envoy = measure(envoy)?;
            all.push((measure(ours)?, envoy));
        }
    }
    Ok(all)
}

/// What was measured, on what, in words that hold no date.
fn machine(cli: &Cli, envoy: &Path, cores: usize) -> anyhow::Result<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let meltemi = first_line(&cli.meltemi, &["envoy", "--version"])?;
    let envoy = first_line(envoy, &["--version"])?;
    let generator = first_line(Path::new("h2load"), &["--version"])?;
    let (connections, rate) = OPEN;
    Ok(format!(
        "{} rounds of {} s a load; {cores} cores, Linux {}; ours: {meltemi}; Envoy: {envoy}; load: {generator}, \
         {} streams on an HTTP/2 connection; bodies of {} bytes; latency on {connections} connections of {rate} requests/s each.\n",
        cli.rounds,
        cli.seconds,
        kernel.trim(),
        load::STREAMS,
        upstream::BODY,
    ))
}

fn first_line(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("of unknown version");
    // Envoy says its own path first.
    Ok(line.rsplit_once("version: ").map_or(line, |(_, version)| version).trim().to_owned())
}

fn ports() -> anyhow::Result<Ports> {
    Ok(Ports { http1: free_port()?, http2: free_port()? })
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
