//! What the API server asks of the node: the kubelet's side of `logs`, `exec`, `attach` and `port-forward`.
//!
//! The API server owns the wire (WebSocket, SPDY, HTTP chunks) and hands plain byte streams to the node; the node owns the
//! processes. The two meet in the [`Kubelet`] trait.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// Names a pod to the kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid, so that a successor of the same name is not taken for it.
    pub uid: String,
}

/// Which part of a container's log is asked for (`kubectl logs`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container; the API server has already resolved the default container, so it is never empty.
    pub container: String,
    /// Keep the stream open and send new lines as they are written.
    pub follow: bool,
    /// The log of the container's previous run.
    pub previous: bool,
    /// Only this many lines from the end.
    pub tail: Option<u64>,
    /// Only lines written at or after this time.
    pub since: Option<jiff::Timestamp>,
    /// Begin each line with its RFC 3339 time (nanoseconds) and a blank.
    pub timestamps: bool,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// What to run in, or attach to in, a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The container; never empty.
    pub container: String,
    /// The command and its arguments; empty for `attach`.
    pub command: Vec<String>,
    /// Whether the client sends standard input.
    pub stdin: bool,
    /// Whether the client wants standard output.
    pub stdout: bool,
    /// Whether the client wants standard error (never together with `tty`).
    pub stderr: bool,
    /// Whether a terminal is wanted; its output comes as `stdout`.
    pub tty: bool,
}

/// How a command that was run by `exec` (or the process that was attached to) ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// The process ended with this code; a signal death is 128 + signal as in a shell.
    Code(i32),
    /// The command could not be run at all, with the reason for the user.
    Failed(String),
}

/// A running `exec` or `attach`. Dropping it kills the process of an `exec`, and merely detaches from an `attach`.
pub struct ExecSession {
    /// The process's standard input; shut down when the client closes its side. `None` if not asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The process's standard output (the terminal's output with `tty`). `None` if not asked for.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// The process's standard error. `None` if not asked for or with `tty`.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Takes (columns, rows) when the client's terminal changes size. `None` without `tty`.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Resolves when the process has ended; a dropped sender counts as a failure.
    pub exit: oneshot::Receiver<ExitStatus>,
}

/// A byte stream both ways: a forwarded port's connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why the kubelet could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeletError {
    /// No such pod or container on this node (404). The message is shown to the user as it is.
    #[error("{0}")]
    NotFound(String),
    /// The container exists but cannot serve the request now, e.g. `container "x" in pod "y" is waiting to start` (400).
    #[error("{0}")]
    BadRequest(String),
    /// Anything else (500).
    #[error("{0}")]
    Internal(String),
}

/// The node's side of the streaming pod sub-resources. Every call is for a pod that exists in storage.
#[async_trait]
pub trait Kubelet: Send + Sync + 'static {
    /// The log of a container as a stream of bytes; ends at the end of the log, or with `follow` when the container ends.
    async fn logs(
        &self,
        pod: &PodRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError>;

    /// Runs a command in a running container.
    async fn exec(&self, pod: &PodRef, options: ExecOptions) -> Result<ExecSession, KubeletError>;

    /// Attaches to the main process of a running container.
    async fn attach(&self, pod: &PodRef, options: ExecOptions) -> Result<ExecSession, KubeletError>;

    /// Connects to a TCP port on the pod's loopback address.
    async fn port_forward(&self, pod: &PodRef, port: u16) -> Result<Box<dyn Duplex>, KubeletError>;
}
