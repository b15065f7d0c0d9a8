//! The node's side of `kubectl logs`, `exec`, `attach` and `port-forward`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use meltemi_apiserver::kubelet::{
    Duplex, ExecOptions, ExecSession, ExitStatus, Kubelet, KubeletError, LogOptions, PodRef,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::live::{LiveContainer, LivePod, Node, Stdin};
use super::old_logs;
use crate::container::log::{Log, Query, Stream};
use crate::container::runtime::{self, Io, IoWish, KillOnDrop, Terminal};

/// Serves the streams of the pods of a node.
pub struct Streams {
    node: Arc<Node>,
}

impl Streams {
    /// For the pods of `node`.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    fn pod(&self, pod: &PodRef) -> Result<Arc<LivePod>, KubeletError> {
        let found = self.node.pods.lock().get(&pod.uid).cloned();
        found
            .or_else(|| self.node.find(&pod.namespace, &pod.name).filter(|_| pod.uid.is_empty()))
            .ok_or_else(|| KubeletError::NotFound(format!("pod \"{}\" does not run on this node", pod.name)))
    }

    fn container(&self, pod: &PodRef, name: &str) -> Result<LiveContainer, KubeletError> {
        let live = self.pod(pod)?;
        let found = live.containers.lock().get(name).cloned();
        // Logs without a process are those of an earlier daemon.
        let state = match self.node.logs_of(&live).join(name).exists() {
            true => "is not running: it has ended; see `kubectl logs`",
            false => "is waiting to start: ContainerCreating",
        };
        found.ok_or_else(|| {
            KubeletError::BadRequest(format!("container \"{name}\" in pod \"{}\" {state}", pod.name))
        })
    }
}

fn internal(error: impl std::fmt::Display) -> KubeletError {
    KubeletError::Internal(error.to_string())
}

#[async_trait]
impl Kubelet for Streams {
    async fn logs(
        &self,
        pod: &PodRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError> {
        let none_before = || {
            KubeletError::BadRequest(format!(
                "previous terminated container \"{}\" in pod \"{}\" not found",
                options.container, pod.name
            ))
        };
        let log = match self.container(pod, &options.container) {
            Ok(container) if options.previous => container.previous.ok_or_else(none_before)?,
            Ok(container) => container.log,
            Err(waiting) => {
                let logs = self.node.logs_of(&*self.pod(pod)?);
                let kept = old_logs::find(&logs, &options.container, options.previous);
                kept.ok_or_else(|| if options.previous { none_before() } else { waiting })?
            }
        };
        let query = Query {
            follow: options.follow,
            tail: options.tail,
            since: options.since,
            timestamps: options.timestamps,
            limit_bytes: options.limit_bytes,
        };
        Ok(ReceiverStream::new(log.read(query)).boxed())
    }

    async fn exec(&self, pod: &PodRef, options: ExecOptions) -> Result<ExecSession, KubeletError> {
        let container = self.container(pod, &options.container)?;
        // Its process id may be another's by now.
        if let Some(code) = container.running.exit() {
            return Err(KubeletError::BadRequest(format!(
                "container \"{}\" in pod \"{}\" is not running: it ended with code {code}; see `kubectl logs`",
                options.container, pod.name
            )));
        }
        let mut process = container.process.clone();
        process.argv = options.command.clone();
        if options.tty && !process.env.iter().any(|(name, _)| name == "TERM") {
            process.env.push(("TERM".into(), "xterm".into()));
        }
        let wish = IoWish { stdin: options.stdin, terminal: options.tty };
        let (exit, ended) = oneshot::channel();
        let started = runtime::exec(container.running.pid(), process, wish).await;
        let (running, io) = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = exit.send(ExitStatus::Failed(error.to_string()));
                return Ok(session(None, None, None, None, ended));
            }
        };
        let guard = KillOnDrop(running.clone());
        let mut exit = exit;
        tokio::spawn(async move {
            let _guard = guard;
            tokio::select! {
                code = running.wait() => { let _ = exit.send(ExitStatus::Code(code)); }
                // The session was dropped: so is the process.
                () = exit.closed() => {}
            }
        });
        Ok(match io {
            Io::Pipes { stdin, stdout, stderr } => {
                session(stdin.map(boxed_write), Some(Box::new(stdout)), Some(Box::new(stderr)), None, ended)
            }
            Io::Terminal(terminal) => {
                let resize = resizer(terminal.clone());
                let stdin = options.stdin.then(|| boxed_write(terminal.clone()));
                session(stdin, Some(Box::new(terminal)), None, Some(resize), ended)
            }
        })
    }

    async fn attach(&self, pod: &PodRef, options: ExecOptions) -> Result<ExecSession, KubeletError> {
        let container = self.container(pod, &options.container)?;
        let (exit, ended) = oneshot::channel();
        let running = container.running.clone();
        let log = container.log.clone();
        tokio::spawn(async move {
            running.wait().await;
            log.ended().await;
            // How the container ended is the pod's status to tell; that somebody was attached went well.
            let _ = exit.send(ExitStatus::Code(0));
        });
        let (stdout, stderr) = output(&container.log);
        let (stdin, resize) = match container.stdin.filter(|_| options.stdin || options.tty) {
            Some(Stdin::Pipe(shared)) => (Some(pipe_writer(shared, container.stdin_once).await), None),
            Some(Stdin::Terminal(terminal)) => {
                (options.stdin.then(|| boxed_write(terminal.clone())), Some(resizer(terminal)))
            }
            None => (None, None),
        };
        let stderr = (!options.tty).then_some(stderr);
        Ok(session(stdin, Some(stdout), stderr, resize, ended))
    }

    async fn port_forward(&self, pod: &PodRef, port: u16) -> Result<Box<dyn Duplex>, KubeletError> {
        let network = self.pod(pod)?.network.lock().clone();
        let network = network
            .ok_or_else(|| KubeletError::BadRequest(format!("pod \"{}\" is not running", pod.name)))?;
        let stream = network.connect_loopback(port).await;
        let stream = stream
            .map_err(|e| internal(format!("cannot connect to port {port} in pod {}: {e}", pod.name)))?;
        Ok(Box::new(stream))
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

fn session(
    stdin: Option<Writer>,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
    exit: oneshot::Receiver<ExitStatus>,
) -> ExecSession {
    ExecSession { stdin, stdout, stderr, resize, exit }
}

fn boxed_write(writer: impl AsyncWrite + Send + Unpin + 'static) -> Writer {
    Box::new(writer)
}

fn resizer(terminal: Terminal) -> mpsc::Sender<(u16, u16)> {
    let (sender, mut sizes) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            let _ = terminal.resize(columns, rows);
        }
    });
    sender
}

/// Standard input of a container that outlives its clients, unless it is for one client only.
async fn pipe_writer(
    shared: Arc<tokio::sync::Mutex<Option<tokio::net::unix::pipe::Sender>>>,
    once: bool,
) -> Writer {
    let (client, mut ours) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut pipe = shared.lock().await;
        if let Some(pipe) = pipe.as_mut() {
            let _ = tokio::io::copy(&mut ours, pipe).await;
        }
        if once {
            pipe.take();
        }
    });
    Box::new(client)
}

/// What the container has put out (the last part of it) and all that comes, as two streams.
fn output(log: &Log) -> (Reader, Reader) {
    let (stdout, mut out) = tokio::io::duplex(64 * 1024);
    let (stderr, mut err) = tokio::io::duplex(64 * 1024);
    let log = log.clone();
    let (replay, mut live) = log.attach();
    tokio::spawn(async move {
        for (stream, bytes) in replay {
            let to = if stream == Stream::Out { &mut out } else { &mut err };
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        loop {
            let received = tokio::select! {
                biased;
                received = live.recv() => received,
                () = log.ended() => return,
            };
            let Some((stream, bytes)) = received else { return };
            let to = if stream == Stream::Out { &mut out } else { &mut err };
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    (Box::new(stdout), Box::new(stderr))
}
