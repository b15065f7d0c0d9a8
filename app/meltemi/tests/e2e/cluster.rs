//! Clusters for the tests: one that most share, and private ones for those that change everything.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a cluster may take to start on a slow, busy machine. Not a budget: budgets are measured in benchmarks.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where the programs of Kubernetes are, for a comparison: the same tests on its own API server (`make compare`).
const KUBERNETES: &str = "MELTEMI_KUBERNETES";

/// Whether the clusters have Kubernetes' own API server.
pub fn is_kubernetes() -> bool {
    std::env::var_os(KUBERNETES).is_some()
}

/// A running cluster. Dropping it stops the daemon.
pub struct Cluster {
    child: Child,
    data_dir: tempfile::TempDir,
    summary: Value,
}

/// What carries the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Our engine.
    Meltemi,
    /// Envoy itself, as `make envoy` brings it.
    Envoy,
}

impl Plane {
    /// The arguments of `up` for Bookinfo on this data plane.
    pub fn bookinfo(self) -> [&'static str; 4] {
        let name = match self {
            Self::Meltemi => "meltemi",
            Self::Envoy => "envoy",
        };
        ["--demo", "bookinfo", "--data-plane", name]
    }

    /// The cluster with Bookinfo that tests of this data plane share. Use a namespace of your own for what you change.
    pub fn shared(self) -> &'static Cluster {
        static MELTEMI: LazyLock<Cluster> = LazyLock::new(|| lasting(Plane::Meltemi));
        static ENVOY: LazyLock<Cluster> = LazyLock::new(|| lasting(Plane::Envoy));
        match self {
            Self::Meltemi => &MELTEMI,
            Self::Envoy => &ENVOY,
        }
    }
}

fn lasting(plane: Plane) -> Cluster {
    let (give, take) = mpsc::channel();
    // The cluster ends with the thread that started it (parent-death signal), so that thread must outlive every test.
    std::thread::spawn(move || {
        let _ = give.send(Cluster::start(&plane.bookinfo()));
        loop {
            std::thread::park();
        }
    });
    take.recv().expect("the shared cluster starts")
}

/// The shared cluster on our own data plane, for tests that are not about traffic.
pub fn shared() -> &'static Cluster {
    Plane::Meltemi.shared()
}

/// Makes a test on each data plane of every scenario, a function of the plane.
macro_rules! on_both_planes {
    ($($scenario:ident),+ $(,)?) => {
        mod on_meltemi {
            $(#[test]
            fn $scenario() {
                super::$scenario(crate::cluster::Plane::Meltemi);
            })+
        }
        mod on_envoy {
            $(#[test]
            fn $scenario() {
                super::$scenario(crate::cluster::Plane::Envoy);
            })+
        }
    };
}
pub(crate) use on_both_planes;

/// Our binary.
pub fn meltemi() -> Command {
    Command::new(env!("CARGO_BIN_EXE_meltemi"))
}

impl Cluster {
    /// Starts a cluster of its own with these arguments to `up`, and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().expect("a directory");
        let mut command = meltemi();
        command.args(["up", "-o", "json", "--data-dir"]).arg(data_dir.path()).args(args);
        if let Some(built) = std::env::var_os(KUBERNETES) {
            command.arg("--kubernetes").arg(built);
        }
        let mut child = die_with_us(&mut command).stdout(Stdio::piped()).spawn().expect("meltemi up");
        let stdout = child.stdout.take().expect("a pipe");
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                text.push_str(&line);
                if let Ok(value) = serde_json::from_str::<Value>(&text) {
                    let _ = give.send(value);
                }
            }
        });
        match take.recv_timeout(PATIENCE) {
            Ok(summary) => Self { child, data_dir, summary },
            Err(error) => {
                let _ = child.kill();
                panic!("`meltemi up` did not become ready: {error}; see its messages above");
            }
        }
    }

    /// The directory that holds its state.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The process that `up` is.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        PathBuf::from(self.summary["kubeconfig"].as_str().expect("a kubeconfig"))
    }

    /// A URL of the summary.
    pub fn url(&self, name: &str) -> String {
        self.summary["urls"][name]
            .as_str()
            .unwrap_or_else(|| panic!("no url {name} in {}", self.summary))
            .to_owned()
    }

    /// Our CLI against this cluster; it must succeed. Returns its standard output.
    pub fn meltemi(&self, args: &[&str]) -> String {
        succeeded(&format!("meltemi {}", args.join(" ")), self.output(args))
    }

    /// Our CLI against this cluster, whatever comes of it.
    pub fn output(&self, args: &[&str]) -> Output {
        meltemi().args(args).env("KUBECONFIG", self.kubeconfig()).output().expect("meltemi")
    }

    /// Ends `up` as Ctrl-C does and waits for it.
    pub fn interrupt(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT)
            .expect("signal");
        self.child.wait().expect("wait");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.interrupt();
        }
    }
}

#[allow(unsafe_code, reason = "the signal must be asked for between fork and exec")]
fn die_with_us(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: prctl is a plain system call.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            Ok(())
        })
    }
}

/// The standard output of a command that must have succeeded.
pub fn succeeded(what: &str, output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "`{what}` failed with {}:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Asks again until the answer is there; panics with the last one when it does not come.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ask() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("{what}: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
