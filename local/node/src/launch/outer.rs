//! The outer process: makes the namespaces, starts the daemon, and serves it host sockets until it ends.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::{DAEMON, LaunchError, LaunchOptions, OUTER, Report, state, system};
use crate::host_ports::{self, OuterMessage, Reply, Request};
use crate::sys;

/// How a launch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The daemon is ready and goes on in the background.
    Detached,
    /// The daemon ran in the foreground and ended with this code.
    Exited(i32),
}

/// Launches the daemon. In the foreground it returns when the daemon has ended, detached as soon as it is ready.
/// Must be called while the process has one thread.
pub fn start(options: &LaunchOptions, on_report: &mut dyn FnMut(Report)) -> Result<Outcome, LaunchError> {
    // Objects, Secrets among them, and logs are nobody else's. A directory that is there already keeps its mode: it may be shared.
    let mut directory = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(directory.recursive(true), 0o700)
        .create(&options.data_dir)
        .map_err(system(format!("cannot make {}", options.data_dir.display())))?;
    if !options.detach {
        return run(options, on_report).map(Outcome::Exited);
    }
    if let Some(found) = state::running(&options.data_dir) {
        return Err(LaunchError::AlreadyRunning { data_dir: options.data_dir.clone(), pid: found.pid });
    }
    detach(options, on_report)
}

fn detach(options: &LaunchOptions, on_report: &mut dyn FnMut(Report)) -> Result<Outcome, LaunchError> {
    let (ours, theirs) = sys::socket_pair().map_err(system("cannot make a socket"))?;
    let log_path = options.data_dir.join("daemon.log");
    let log =
        std::fs::File::create(&log_path).map_err(system(format!("cannot make {}", log_path.display())))?;
    let text = serde_json::to_string(options).map_err(|e| LaunchError::Failed(e.to_string()))?;
    let errors = log.try_clone().map_err(system("cannot share the log"))?;
    let mut child = Command::new("/proc/self/exe")
        .arg(OUTER)
        .arg(text)
        .stdin(theirs)
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(system("cannot start the outer process"))?;
    while let Some((bytes, _)) =
        sys::receive_message(&ours).map_err(system("cannot hear the outer process"))?
    {
        match serde_json::from_slice(&bytes) {
            Ok(Report::Failed(reason)) => {
                let _ = child.wait();
                return Err(LaunchError::Failed(reason));
            }
            Ok(Report::Ready(value)) => {
                on_report(Report::Ready(value));
                return Ok(Outcome::Detached);
            }
            Ok(progress) => on_report(progress),
            Err(_) => {}
        }
    }
    let _ = child.wait();
    Err(LaunchError::Failed(format!(
        "the daemon ended before it was ready; its log is {}",
        log_path.display()
    )))
}

/// `main` of the detached outer process: standard input is the socket to the process that wants the reports.
pub(super) fn detached_main(args: &[OsString]) -> i32 {
    let parsed = args.first().and_then(|a| a.to_str()).and_then(|text| serde_json::from_str(text).ok());
    let Some(options) = parsed else {
        eprintln!("{OUTER} is started by `up` itself");
        return 2;
    };
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"meltemi-outer");
    let front = take_stdin();
    let tell = |report: Report| {
        if let (Some(front), Ok(bytes)) = (&front, serde_json::to_vec(&report)) {
            // The front process may have gone (Ctrl-C): the daemon goes on all the same.
            let _ = sys::send_message(front, &bytes, &[]);
        }
    };
    let mut heard = |report: Report| {
        if let Report::Failed(reason) = &report {
            // Once the front process has gone, this is for the log.
            eprintln!("Error: {reason}");
        }
        tell(report);
    };
    match run(&options, &mut heard) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            tell(Report::Failed(error.to_string()));
            1
        }
    }
}

/// Moves standard input away and leaves /dev/null there.
pub(crate) fn take_stdin() -> Option<OwnedFd> {
    let taken = rustix::io::fcntl_dupfd_cloexec(std::io::stdin().as_fd(), 3).ok()?;
    let null = std::fs::File::open("/dev/null").ok()?;
    sys::replace_stdio(&null, 0).ok()?;
    Some(taken)
}

/// Runs the daemon to its end and returns its exit code.
fn run(options: &LaunchOptions, on_report: &mut dyn FnMut(Report)) -> Result<i32, LaunchError> {
    let _lock = state::lock(&options.data_dir)?;
    enter_user_namespace()?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| forbidden("a pid namespace", e))?;
    let signals = block_signals()?;
    let (ours, theirs) = sys::socket_pair().map_err(system("cannot make a socket"))?;
    let child = spawn_daemon(options, theirs)?;
    serve(&ours, child, &signals, on_report)
}

fn block_signals() -> Result<SignalFd, LaunchError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        set.add(signal);
    }
    let made = set
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
    made.map_err(|e| LaunchError::System("cannot take signals".into(), e.into()))
}

/// Without root, a user namespace in which we are root comes first: it is what allows the others.
fn enter_user_namespace() -> Result<(), LaunchError> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| forbidden("a user namespace", e))?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ] {
        sys::write_proc(file, &text).map_err(system("cannot map the user"))?;
    }
    Ok(())
}

fn forbidden(what: &str, error: Errno) -> LaunchError {
    let cure = match error {
        Errno::ENOSPC => {
            "raise sysctl user.max_user_namespaces (and user.max_pid_namespaces, user.max_net_namespaces)"
        }
        _ => {
            "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0; in a container run it with the needed privileges), or run as root"
        }
    };
    LaunchError::Forbidden(format!("the kernel refused {what} ({error}): {cure}"))
}

#[allow(unsafe_code, reason = "the namespaces must be made between fork and exec")]
fn spawn_daemon(options: &LaunchOptions, socket: OwnedFd) -> Result<Child, LaunchError> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(DAEMON).args(&options.daemon_args).stdin(Stdio::from(socket));
    // SAFETY: the closure only makes system calls, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let flags = CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC;
            unshare(flags)?;
            nix::unistd::setsid()?;
            // Our own signals are blocked for the signalfd; the daemon is to hear its own.
            SigSet::all().thread_unblock()?;
            Ok(())
        });
    }
    command.spawn().map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(code @ (Errno::EPERM | Errno::ENOSPC)) => forbidden("mount and network namespaces", code),
        _ => LaunchError::System("cannot start the daemon".into(), error),
    })
}

/// Serves the daemon until it ends; SIGTERM and SIGINT are passed on, a second one kills.
fn serve(
    socket: &OwnedFd,
    mut child: Child,
    signals: &SignalFd,
    on_report: &mut dyn FnMut(Report),
) -> Result<i32, LaunchError> {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    let mut asked_to_stop = false;
    let mut heard_all = false;
    loop {
        if let Some(status) = child.try_wait().map_err(system("cannot wait for the daemon"))? {
            while !heard_all && hear(socket, on_report)? {}
            return Ok(status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
        }
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        if !heard_all {
            fds.push(PollFd::new(socket, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(LaunchError::System("cannot wait".into(), error.into())),
        }
        let spoke = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                let _ = kill(pid, if asked_to_stop { Signal::SIGKILL } else { Signal::SIGTERM });
                asked_to_stop = true;
            }
        }
        if spoke && !hear(socket, on_report)? {
            heard_all = true;
        }
    }
}

/// Takes one message of the daemon; `false` when it has closed its end.
fn hear(socket: &OwnedFd, on_report: &mut dyn FnMut(Report)) -> Result<bool, LaunchError> {
    let received = sys::receive_message(socket).map_err(system("cannot hear the daemon"))?;
    let Some((bytes, _)) = received else { return Ok(false) };
    match serde_json::from_slice::<OuterMessage<Request>>(&bytes) {
        Ok(OuterMessage::Report(report)) => on_report(report),
        Ok(OuterMessage::Socket(request)) => answer(socket, host_ports::make(&request)),
        Err(error) => answer(socket, Err(error.into())),
    }
    Ok(true)
}

fn answer(socket: &OwnedFd, made: std::io::Result<socket2::Socket>) {
    let (error, fds): (_, Vec<BorrowedFd<'_>>) = match &made {
        Ok(made) => (None, vec![made.as_fd()]),
        Err(error) => (Some((error.raw_os_error().unwrap_or(0), error.to_string())), Vec::new()),
    };
    if let Ok(bytes) = serde_json::to_vec(&Reply { error }) {
        let _ = sys::send_message(socket, &bytes, &fds);
    }
}
