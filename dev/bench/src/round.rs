//! One round of one proxy: a fresh process, its memory, and every load in turn.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bootstrap::{self, Ports};
use crate::load::{self, Load, Protocol};
use crate::process::{Pinned, cpu_seconds, resident_mb};

/// The core of the proxy.
pub const PROXY_CORE: usize = 1;
/// The core of load generator and upstream.
pub const LOAD_CORE: usize = 0;
/// The numbers of connections.
pub const CONNECTIONS: [usize; 3] = [1, 64, 256];
/// Connections of the load at a fixed rate, and requests a second on each.
pub const OPEN: (usize, usize) = (64, 50);
/// How long a proxy is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// How often memory is read under load.
const SAMPLE: Duration = Duration::from_millis(100);

/// A proxy to measure.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Its name in the tables.
    pub name: &'static str,
    /// Its program.
    pub program: PathBuf,
    /// Arguments before those that name the bootstrap.
    pub arguments: Vec<&'static str>,
    /// Where it listens.
    pub ports: Ports,
}

/// One number of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured; the row of the table.
    pub what: String,
    /// In the row's unit.
    pub value: f64,
}

/// Where a bench works.
#[derive(Debug)]
pub struct Place<'a> {
    /// For bootstraps and logs.
    pub folder: &'a Path,
    /// Where the upstream listens.
    pub upstream: SocketAddr,
    /// How long one load lasts.
    pub seconds: usize,
}

/// Measures a proxy once.
pub fn measure(proxy: &Proxy, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut process = start(proxy, place)?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        process.listens(SocketAddr::from(([127, 0, 0, 1], proxy.ports.of(protocol))))?;
    }
    std::thread::sleep(SETTLE);
    let mut figures = vec![Figure { what: "RSS idle, MB".into(), value: resident_mb(process.id())? }];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        warm_up(proxy, protocol, place)?;
        for connections in CONNECTIONS {
            figures.extend(as_fast_as_it_goes(proxy, &process, (protocol, connections), place)?);
        }
        figures.extend(at_a_rate(proxy, protocol, place)?);
    }
    Ok(figures)
}

fn start(proxy: &Proxy, place: &Place<'_>) -> anyhow::Result<Pinned> {
    let config = place.folder.join(format!("{}.yaml", proxy.name));
    std::fs::write(&config, bootstrap::yaml(proxy.ports, place.upstream))?;
    let path = config.to_string_lossy();
    let mut arguments = proxy.arguments.clone();
    arguments.extend(["-c", &path, "--concurrency", "1", "-l", "warning"]);
    Pinned::start(PROXY_CORE, &proxy.program, &arguments, &place.folder.join(format!("{}.log", proxy.name)))
}

fn warm_up(proxy: &Proxy, protocol: Protocol, place: &Place<'_>) -> anyhow::Result<()> {
    let load = Load { protocol, connections: 64, rate: None, seconds: 1 };
    load::run(load, LOAD_CORE, proxy.ports.of(protocol), &place.folder.join("requests.log"))?;
    Ok(())
}

fn as_fast_as_it_goes(
    proxy: &Proxy,
    process: &Pinned,
    (protocol, connections): (Protocol, usize),
    place: &Place<'_>,
) -> anyhow::Result<Vec<Figure>> {
    let load = Load { protocol, connections, rate: None, seconds: place.seconds };
    let log = place.folder.join("requests.log");
    let before = cpu_seconds(process.id())?;
    let (outcome, peak) =
        with_peak(process.id(), || load::run(load, LOAD_CORE, proxy.ports.of(protocol), &log))?;
    let used = cpu_seconds(process.id())? - before;
    let row =
        format!("{}, {connections} connection{}", protocol.name(), if connections == 1 { "" } else { "s" });
    let mut figures = vec![Figure {
        what: format!("{row}: requests per CPU-second"),
        value: outcome.answered as f64 / used,
    }];
    if Some(&connections) == CONNECTIONS.last() {
        figures.push(Figure { what: format!("RSS at {row}, MB"), value: peak });
    }
    Ok(figures)
}

fn at_a_rate(proxy: &Proxy, protocol: Protocol, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let (connections, rate) = OPEN;
    let load = Load { protocol, connections, rate: Some(rate), seconds: place.seconds };
    let log = place.folder.join("requests.log");
    let outcome = load::run(load, LOAD_CORE, proxy.ports.of(protocol), &log)?;
    let row = format!("{} at {} requests/s", protocol.name(), connections * rate);
    Ok(vec![
        Figure { what: format!("{row}: p50, ms"), value: outcome.p50 },
        Figure { what: format!("{row}: p99, ms"), value: outcome.p99 },
    ])
}

/// Runs something and reads the most memory that a process had meanwhile.
fn with_peak<T>(process: u32, run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut peak = 0.0_f64;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(resident_mb(process).unwrap_or(0.0));
                std::thread::sleep(SAMPLE);
            }
            peak
        });
        let outcome = run();
        over.store(true, Ordering::Relaxed);
        let peak = watching.join().map_err(|_| anyhow::anyhow!("the watch of the memory failed"))?;
        Ok((outcome?, peak))
    })
}
