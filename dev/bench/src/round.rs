//! One round of one proxy: fresh processes, their memory, and every load in turn.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bootstrap::{self, Ports};
use crate::load::{self, Load, Outcome, Protocol};
use crate::mesh::Places;
use crate::process::{Pinned, cpu_seconds, listens, resident_mb};

/// The core of the proxy.
pub const PROXY_CORE: usize = 1;
/// The core of load generator and upstream.
pub const LOAD_CORE: usize = 0;
/// The numbers of connections.
pub const CONNECTIONS: [usize; 3] = [1, 64, 256];
/// The number of connections where one number has to do.
pub const MIDDLE: usize = 64;
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
    /// Where the control plane listens.
    pub control: SocketAddr,
    /// Where the proxies of the mesh listen.
    pub places: Places,
    /// How long one load lasts.
    pub seconds: usize,
}

/// Measures a proxy once, in every shape.
pub fn measure(proxy: &Proxy, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut figures = alone(proxy, place)?;
    figures.extend(in_the_mesh(proxy, place)?);
    Ok(figures)
}

/// With a static bootstrap.
fn alone(proxy: &Proxy, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let process = start(proxy, "static", &bootstrap::yaml(proxy.ports, place.upstream), place)?;
    let running = Running { processes: vec![process], ports: proxy.ports, shape: "" };
    running.wait()?;
    let mut figures = vec![Figure { what: "RSS idle, MB".into(), value: running.memory()? }];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        running.warm_up(protocol, place)?;
        for connections in CONNECTIONS {
            figures.extend(running.as_fast_as_it_goes(protocol, connections, place)?);
        }
        figures.extend(running.at_a_rate(protocol, place)?);
    }
    Ok(figures)
}

/// Configured by our control plane: one proxy, then two in a row with mutual TLS between them.
fn in_the_mesh(proxy: &Proxy, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let begin = |name: &str| start(proxy, name, &bootstrap::of_mesh(name, proxy.name, place.control), place);
    let one = Running { processes: vec![begin("outer")?], ports: place.places.plain, shape: "by our xDS: " };
    one.wait()?;
    let mut figures = vec![Figure { what: "by our xDS: RSS idle, MB".into(), value: one.memory()? }];
    figures.extend(one.middle(place)?);
    let mut processes = one.processes;
    processes.push(begin("inner")?);
    let shape = "two proxies, mutual TLS: ";
    let two = Running { processes, ports: place.places.mutual, shape };
    wait_for(place.places.inner)?;
    two.wait()?;
    figures.extend(two.middle(place)?);
    Ok(figures)
}

fn start(proxy: &Proxy, name: &str, bootstrap: &str, place: &Place<'_>) -> anyhow::Result<Pinned> {
    let config = place.folder.join(format!("{}-{name}.yaml", proxy.name));
    std::fs::write(&config, bootstrap)?;
    let path = config.to_string_lossy();
    let mut arguments = proxy.arguments.clone();
    arguments.extend(["-c", &path, "--concurrency", "1", "-l", "warning"]);
    Pinned::start(PROXY_CORE, &proxy.program, &arguments, &place.folder.join(format!("{}.log", proxy.name)))
}

fn wait_for(ports: Ports) -> anyhow::Result<()> {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        listens(SocketAddr::from(([127, 0, 0, 1], ports.of(protocol))))?;
    }
    Ok(())
}

/// Proxies that run, and how the load reaches them.
struct Running {
    processes: Vec<Pinned>,
    ports: Ports,
    /// What its rows begin with.
    shape: &'static str,
}

impl Running {
    fn wait(&self) -> anyhow::Result<()> {
        wait_for(self.ports)?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    fn memory(&self) -> anyhow::Result<f64> {
        self.processes.iter().map(|process| resident_mb(process.id())).sum()
    }

    fn cpu(&self) -> anyhow::Result<f64> {
        self.processes.iter().map(|process| cpu_seconds(process.id())).sum()
    }

    fn warm_up(&self, protocol: Protocol, place: &Place<'_>) -> anyhow::Result<()> {
        let load = Load { protocol, connections: MIDDLE, rate: None, seconds: 1 };
        self.load(load, place)?;
        Ok(())
    }

    /// Both protocols with a middling number of connections.
    fn middle(&self, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for protocol in [Protocol::Http1, Protocol::Http2] {
            self.warm_up(protocol, place)?;
            figures.extend(self.as_fast_as_it_goes(protocol, MIDDLE, place)?);
        }
        Ok(figures)
    }

    fn as_fast_as_it_goes(
        &self,
        protocol: Protocol,
        connections: usize,
        place: &Place<'_>,
    ) -> anyhow::Result<Vec<Figure>> {
        let load = Load { protocol, connections, rate: None, seconds: place.seconds };
        let before = self.cpu()?;
        let (outcome, peak) = self.with_peak(|| self.load(load, place))?;
        let used = self.cpu()? - before;
        let plural = if connections == 1 { "" } else { "s" };
        let row = format!("{}{}, {connections} connection{plural}", self.shape, protocol.name());
        let mut figures = vec![Figure {
            what: format!("{row}: requests per CPU-second"),
            value: outcome.answered as f64 / used,
        }];
        if Some(&connections) == CONNECTIONS.last() {
            figures.push(Figure { what: format!("RSS at {row}, MB"), value: peak });
        }
        Ok(figures)
    }

    fn at_a_rate(&self, protocol: Protocol, place: &Place<'_>) -> anyhow::Result<Vec<Figure>> {
        let (connections, rate) = OPEN;
        let outcome =
            self.load(Load { protocol, connections, rate: Some(rate), seconds: place.seconds }, place)?;
        let row = format!("{} at {} requests/s", protocol.name(), connections * rate);
        Ok(vec![
            Figure { what: format!("{row}: p50, ms"), value: outcome.p50 },
            Figure { what: format!("{row}: p99, ms"), value: outcome.p99 },
        ])
    }

    fn load(&self, load: Load, place: &Place<'_>) -> anyhow::Result<Outcome> {
        load::run(load, LOAD_CORE, self.ports.of(load.protocol), &place.folder.join("requests.log"))
    }

    /// Runs something and reads the most memory that the processes had meanwhile.
    fn with_peak<T>(&self, run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut peak = 0.0_f64;
                while !over.load(Ordering::Relaxed) {
                    peak = peak.max(self.memory().unwrap_or(0.0));
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
}
