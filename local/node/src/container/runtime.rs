//! The daemon's side: starts helpers, and holds what they made.

mod terminal;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::spec::{Answer, Container, Order, Process};
use crate::sys;

pub use terminal::Terminal;

/// A process that a helper made: a container's init or an exec.
#[derive(Clone)]
pub struct Running {
    pid: i32,
    exit: watch::Receiver<Option<i32>>,
}

/// Standard streams of a process, the daemon's ends.
pub enum Io {
    /// Pipes; standard input only where it was asked for.
    Pipes {
        /// Writes to the process.
        stdin: Option<pipe::Sender>,
        /// Reads its output.
        stdout: pipe::Receiver,
        /// Reads its errors.
        stderr: pipe::Receiver,
    },
    /// A terminal.
    Terminal(Terminal),
}

/// How a process' streams are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoWish {
    /// Standard input is open; otherwise it is /dev/null.
    pub stdin: bool,
    /// All three are a terminal.
    pub terminal: bool,
}

impl Running {
    /// The process id in the daemon's namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        if self.exit.borrow().is_none() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// The exit code, when it has ended.
    pub fn exit(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    /// Waits for the end: the exit code, or 128 + the signal.
    pub async fn wait(&self) -> i32 {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(0),
            Err(_) => 255,
        }
    }

    async fn watch(pid: i32) -> io::Result<Self> {
        let id = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| io::Error::other("the helper gave no process"))?;
        let pidfd = sys::async_fd(rustix::process::pidfd_open(id, rustix::process::PidfdFlags::NONBLOCK)?)?;
        let (sender, exit) = watch::channel(None);
        tokio::spawn(async move {
            let code = loop {
                if pidfd.readable().await.is_err() {
                    break 255;
                }
                match rustix::process::waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), WaitIdOptions::EXITED) {
                    Ok(Some(status)) => {
                        break status
                            .exit_status()
                            .unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(9));
                    }
                    Ok(None) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                    Err(_) => break 255,
                }
            };
            sender.send_replace(Some(code));
        });
        Ok(Self { pid, exit })
    }
}

/// Starts a container in a pod's network namespace.
pub async fn run(container: Container, network: BorrowedFd<'_>, wish: IoWish) -> io::Result<(Running, Io)> {
    let network = network.try_clone_to_owned()?;
    let uid = if container.process.ids_mapped { container.process.uid } else { 0 };
    start(Order::Run(Box::new(container)), vec![network], wish, uid).await
}

/// Starts a process in a running container.
pub async fn exec(init: i32, mut process: Process, wish: IoWish) -> io::Result<(Running, Io)> {
    process.terminal = wish.terminal;
    let uid = if process.ids_mapped { process.uid } else { 0 };
    start(Order::Exec { init, process }, Vec::new(), wish, uid).await
}

async fn start(order: Order, mut fds: Vec<OwnedFd>, wish: IoWish, uid: u32) -> io::Result<(Running, Io)> {
    let (theirs, pipes) = streams(wish, uid)?;
    fds.extend(theirs);
    let started =
        tokio::task::spawn_blocking(move || run_helper(&order, &fds)).await.map_err(io::Error::other)??;
    let running = Running::watch(started.pid).await?;
    let io = match (pipes, started.terminal) {
        (Some(pipes), _) => pipes,
        (None, Some(master)) => Io::Terminal(Terminal::new(master)?),
        (None, None) => return Err(io::Error::other("the container helper gave no terminal")),
    };
    Ok((running, io))
}

/// Makes the streams: the process' three ends and ours. A terminal is made by the process, inside of its container.
fn streams(wish: IoWish, uid: u32) -> io::Result<([OwnedFd; 3], Option<Io>)> {
    if wish.terminal {
        let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
        return Ok(([null.try_clone()?, null.try_clone()?, null], None));
    }
    let (stdout, out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, err) = pipe_with(PipeFlags::CLOEXEC)?;
    own(&out, uid)?;
    own(&err, uid)?;
    let (input, stdin) = if wish.stdin {
        let (input, stdin) = pipe_with(PipeFlags::CLOEXEC)?;
        own(&input, uid)?;
        (input, Some(pipe::Sender::from_owned_fd(stdin)?))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let io = Io::Pipes {
        stdin,
        stdout: pipe::Receiver::from_owned_fd(stdout)?,
        stderr: pipe::Receiver::from_owned_fd(stderr)?,
    };
    Ok(([input, out, err], Some(io)))
}

/// Programs open `/dev/stdout` anew, for which the pipe must be theirs.
fn own(fd: &OwnedFd, uid: u32) -> io::Result<()> {
    if uid == 0 {
        return Ok(());
    }
    Ok(nix::unistd::fchown(fd, Some(nix::unistd::Uid::from_raw(uid)), None)?)
}

/// What a helper made.
struct Started {
    pid: i32,
    /// Our side of its terminal, where it runs on one.
    terminal: Option<OwnedFd>,
}

/// Starts a helper, hands it the order, and waits until the program runs or has failed to.
fn run_helper(order: &Order, fds: &[OwnedFd]) -> io::Result<Started> {
    let paper = rustix::fs::memfd_create("order", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut paper = File::from(paper);
    serde_json::to_writer(&mut paper, order)?;
    paper.flush()?;
    let (ours, theirs) = sys::socket_pair()?;
    let mut child = Command::new("/proc/self/exe")
        .arg(super::HIDDEN)
        .env_clear()
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut all = vec![paper.as_fd()];
    all.extend(fds.iter().map(AsFd::as_fd));
    let answered = sys::send_message(&ours, b"order", &all).and_then(|()| answers(&ours));
    child.wait()?;
    answered
}

fn answers(socket: &OwnedFd) -> io::Result<Started> {
    let (mut pid, mut terminal) = (None, None);
    while let Some((bytes, fds)) = sys::receive_message(socket)? {
        match serde_json::from_slice(&bytes)? {
            Answer::Pid(id) => pid = Some(id),
            Answer::Terminal => terminal = fds.into_iter().next(),
            Answer::Failed(reason) => {
                if let Some(id) = pid.and_then(rustix::process::Pid::from_raw) {
                    // It ends by itself now; do not leave it unreaped.
                    let _ = rustix::process::waitpid(Some(id), rustix::process::WaitOptions::empty());
                }
                return Err(io::Error::other(reason));
            }
        }
    }
    let pid = pid.ok_or_else(|| io::Error::other("the container helper ended without a word"))?;
    Ok(Started { pid, terminal })
}

/// What [`exec_output`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// Standard output and error together, the first 10 KiB of each.
    pub text: String,
}

/// Runs a command in a container to its end, as probes and hooks do. Dropping the future kills it.
pub async fn exec_output(init: i32, process: Process) -> io::Result<Output> {
    use tokio::io::AsyncReadExt;
    const MOST: u64 = 10 * 1024;
    let (running, io) = exec(init, process, IoWish { stdin: false, terminal: false }).await?;
    let guard = KillOnDrop(running.clone());
    let Io::Pipes { stdout, stderr, .. } = io else { return Err(io::Error::other("no pipes")) };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (stdout.take(MOST), stderr.take(MOST));
    // What is over the limit is read too: a full pipe would keep the command from ending.
    let standard = async {
        _ = stdout.read_to_end(&mut out).await;
        _ = tokio::io::copy(stdout.get_mut(), &mut tokio::io::sink()).await;
    };
    let error = async {
        _ = stderr.read_to_end(&mut err).await;
        _ = tokio::io::copy(stderr.get_mut(), &mut tokio::io::sink()).await;
    };
    let ((), (), code) = tokio::join!(standard, error, guard.0.wait());
    out.extend(err);
    Ok(Output { code, text: String::from_utf8_lossy(&out).into_owned() })
}

/// Kills a process when nobody cares for it any more.
pub struct KillOnDrop(pub Running);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// Records the output of a container in its log until it ends.
pub fn record(io: Io, log: &super::log::Log) {
    use super::log::{Stream, pump};
    let log = log.clone();
    tokio::spawn(async move {
        match io {
            Io::Pipes { stdout, stderr, .. } => {
                tokio::join!(pump(stdout, Stream::Out, log.clone()), pump(stderr, Stream::Err, log.clone()));
            }
            Io::Terminal(terminal) => pump(terminal, Stream::Out, log.clone()).await,
        }
        log.end();
    });
}
