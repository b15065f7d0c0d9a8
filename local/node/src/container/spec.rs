//! What the daemon orders of the helper process: values that cross as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One job for a helper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Start a container. Descriptors: this order, the pod's network namespace, standard input, output, error.
    Run(Box<Container>),
    /// Start a process in a running container. Descriptors: this order, standard input, output, error.
    Exec {
        /// The container's init, in the daemon's pid namespace.
        init: i32,
        /// What to run.
        process: Process,
    },
}

/// A container to start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Container {
    /// The host name inside: the pod's.
    pub hostname: String,
    /// An existing empty directory, the place where the root is put together.
    pub root: PathBuf,
    /// Our own binary, to be /usr/local/bin/meltemi inside.
    pub binary: PathBuf,
    /// No writes outside volumes.
    pub read_only_root: bool,
    /// The container may change the machine: kernel settings are writable.
    pub privileged: bool,
    /// Whole files by absolute path: resolv.conf, hosts, passwd, and those of the image.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Links in /usr/local/bin to our own binary.
    pub applets: Vec<String>,
    /// Directories or files of the host at the same path, read-only.
    pub host_paths: Vec<PathBuf>,
    /// Volumes, in order.
    pub mounts: Vec<Mount>,
    /// What to run.
    pub process: Process,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// A file or directory in the daemon's mount namespace.
    pub source: PathBuf,
    /// What of it is mounted, if not all. Links in it are resolved when it is mounted, and never lead out of `source`.
    pub sub: Option<PathBuf>,
    /// An absolute path in the container.
    pub target: PathBuf,
    /// No writes through this mount.
    pub read_only: bool,
}

/// A process to start in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program, looked up in `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// The user to become.
    pub uid: u32,
    /// The group to become.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Do not let programs gain privileges.
    pub no_new_privileges: bool,
    /// Names of capabilities (without `CAP_`) that root keeps inside; `None` keeps all.
    pub capabilities: Option<Vec<String>>,
    /// Runs on a terminal of the container, which takes the place of its standard streams.
    pub terminal: bool,
    /// Whether other user ids exist; otherwise `uid`, `gid` and `groups` are not applied.
    pub ids_mapped: bool,
}

/// What the helper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The process that stands for the container (or the exec) exists.
    Pid(i32),
    /// Our side of the terminal it runs on comes along.
    Terminal,
    /// It could not be set up.
    Failed(String),
}

/// The capabilities that containers have when nothing is said, as container runtimes give them; but MKNOD, because no device
/// controller stands between a device node and the machine's disks.
pub const DEFAULT_CAPABILITIES: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// The kernel's numbers of capabilities are their places in this list.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
