//! The daemon's first steps inside its namespaces, before it starts any thread.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use parking_lot::Mutex;

use super::outer::take_stdin;
use super::{LaunchError, Report, system};
use crate::host_ports::{HostPorts, OuterMessage};
use crate::{net, sys};

/// The name of our own binary below the run directory.
pub(crate) const BINARY: &str = "meltemi";

/// What a freshly launched daemon has to work with.
pub struct Daemon {
    /// Sockets in the host's network.
    pub host: HostPorts,
    /// Tells the outer process, and so the user, how the start goes.
    pub reporter: Reporter,
}

/// Sends [`Report`]s to the outer process.
#[derive(Clone)]
pub struct Reporter {
    socket: Arc<Mutex<OwnedFd>>,
}

impl Reporter {
    /// Sends a report; an outer process that no longer listens is no error.
    pub fn report(&self, report: Report) {
        if let Ok(bytes) = serde_json::to_vec(&OuterMessage::<()>::Report(report)) {
            let _ = sys::send_message(&*self.socket.lock(), &bytes, &[]);
        }
    }
}

/// Finishes the set-up of a process that was started as the daemon (`argv[1]` is [`super::DAEMON`]): dies with the
/// outer process, mounts of its own, a fresh /proc, the cluster's addresses on `lo`, forwarding on.
///
/// Must be called before the process starts a thread.
pub fn enter(data_dir: &Path) -> Result<Daemon, LaunchError> {
    if nix::unistd::getpid().as_raw() != 1 {
        return Err(LaunchError::Failed("the daemon is started by `up` itself".into()));
    }
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| system("cannot tie the daemon to its parent")(e.into()))?;
    // Started through /proc/self/exe, we would be shown as "exe".
    let _ = prctl::set_name(c"meltemi");
    let socket =
        take_stdin().ok_or_else(|| LaunchError::Failed("the outer process gave no socket".into()))?;
    usual_limits();
    own_mounts(data_dir)?;
    net::prepare_cluster().map_err(system("cannot set up the cluster's network"))?;
    let _ = nix::unistd::sethostname("meltemi");
    let socket = Arc::new(Mutex::new(socket));
    Ok(Daemon { host: HostPorts::through(socket.clone()), reporter: Reporter { socket } })
}

/// What containers inherit from us should not depend on the shell that started us.
fn usual_limits() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // As many sockets as we may have; staying with fewer is no reason to stop.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn own_mounts(data_dir: &Path) -> Result<(), LaunchError> {
    let none: Option<&str> = None;
    let failed = |what: &'static str| move |e: nix::errno::Errno| system(what)(e.into());
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(failed("cannot make mounts private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(failed(
        "cannot mount /proc (inside a container the outer /proc must not be masked: --security-opt systempaths=unconfined)",
    ))?;
    let run = data_dir.join("run");
    std::fs::create_dir_all(&run).map_err(system(format!("cannot make {}", run.display())))?;
    // Pod volumes hold secrets: they live in memory and vanish with our mount namespace.
    mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0711"))
        .map_err(failed("cannot mount a tmpfs for the pods"))?;
    // Containers get the very binary that runs now, even if its file is replaced while the cluster is up.
    let binary = run.join(BINARY);
    let exe = std::env::current_exe().map_err(system("cannot find our own binary"))?;
    std::fs::File::create(&binary).map_err(system(format!("cannot make {}", binary.display())))?;
    mount(Some(&exe), &binary, none, MsFlags::MS_BIND, none).map_err(failed("cannot bind our own binary"))
}
