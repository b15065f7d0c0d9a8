//! Starting the daemon in namespaces of its own.
//!
//! Two processes: the *outer* one stays in the host's namespaces, holds the lock of the data directory and makes host
//! sockets for the other; the *daemon* is process 1 of a new pid namespace, with its own mounts, network, host name and IPC.
//! When the daemon ends, however it ends, the kernel ends every process below it and forgets every mount and rule.
//! When the outer process ends, the daemon is killed.
//!
//! The program's `main` hands hidden first arguments to [`hidden`] before it starts any thread.

mod daemon;
mod outer;
mod state;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use daemon::BINARY;
pub use daemon::{Daemon, Reporter, enter};
pub(crate) use outer::take_stdin;
pub use outer::{Outcome, start};
pub use state::{Running, running, stop};

/// The hidden first argument of the outer process when it runs detached.
pub const OUTER: &str = "__outer";
/// The hidden first argument of the daemon; the rest are the arguments given in [`LaunchOptions`].
pub const DAEMON: &str = "__daemon";

/// How to launch the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchOptions {
    /// Where the cluster's state, logs and lock live; made when missing.
    pub data_dir: PathBuf,
    /// What the daemon gets as its arguments after [`DAEMON`].
    pub daemon_args: Vec<String>,
    /// Return as soon as the daemon is ready, and leave it running.
    pub detach: bool,
}

/// How the start of the daemon goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// One step is done, in words for the user.
    Progress(String),
    /// The cluster is ready; the value is the program's own (URLs, kubeconfig …).
    Ready(serde_json::Value),
    /// The start failed, with the reason.
    Failed(String),
}

/// Why the daemon could not be launched or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Another daemon uses the data directory.
    #[error(
        "a cluster is already running in {data_dir} (process {pid}): use it, stop it with `meltemi down`, or give another --data-dir"
    )]
    AlreadyRunning {
        /// The directory.
        data_dir: PathBuf,
        /// The outer process of the one that runs.
        pid: i32,
    },
    /// The kernel does not let us make a namespace.
    #[error("{0}")]
    Forbidden(String),
    /// The daemon said why it could not start.
    #[error("{0}")]
    Failed(String),
    /// Some other failure of the system.
    #[error("{0}: {1}")]
    System(String, #[source] std::io::Error),
}

pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> LaunchError {
    let what = what.into();
    move |error| LaunchError::System(what, error)
}

/// Runs the hidden roles that need no knowledge of the program: the detached outer process and container helpers.
/// Returns the exit code, or `None` when the arguments (without the program's name) are for the program itself.
///
/// Must be called before the process starts a thread.
pub fn hidden(args: &[OsString]) -> Option<i32> {
    let first = args.first()?.to_str()?;
    match first {
        OUTER => Some(outer::detached_main(args.get(1..).unwrap_or_default())),
        crate::container::HIDDEN => Some(crate::container::container_main(args.get(1..).unwrap_or_default())),
        _ => None,
    }
}
