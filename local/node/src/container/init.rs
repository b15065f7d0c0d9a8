//! Process 1 of a container: builds the root, starts the program, reaps orphans, passes signals on.
//!
//! It is there so that programs behave as they do outside of containers: process 1 of a pid namespace ignores
//! signals without a handler, which would make every `kubectl delete pod` of a `sleep` wait for its whole grace period.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::helper::{Stdio, tell};
use super::spec::{Answer, Container};
use super::{exec, root};
use crate::sys;

/// Runs as process 1 and returns the exit code of the container.
pub(super) fn main(container: &Container, stdio: &Stdio, socket: &OwnedFd) -> i32 {
    let _ = nix::sys::prctl::set_name(c"meltemi-init");
    let signals = SigSet::all();
    let prepared = signals
        .thread_block()
        .map_err(std::io::Error::from)
        .and_then(|()| Ok(nix::unistd::sethostname(&container.hostname)?))
        .and_then(|()| root::enter(container));
    if let Err(error) = prepared {
        tell(socket, &Answer::Failed(error.to_string()));
        return 128;
    }
    match sys::fork() {
        Ok(ForkResult::Child) => exec::run(&container.process, stdio, socket),
        Ok(ForkResult::Parent { child }) => {
            close_all(stdio, socket);
            serve(&signals, child)
        }
        Err(error) => {
            tell(socket, &Answer::Failed(error.to_string()));
            128
        }
    }
}

/// Lets go of the program's ends, so that the daemon sees them close when the program closes them.
fn close_all(stdio: &Stdio, socket: &OwnedFd) {
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        for number in 0..3 {
            let _ = sys::replace_stdio(&null, number);
        }
        for fd in stdio.fds.iter().chain([socket]) {
            let _ = sys::replace(&null, fd);
        }
    }
}

fn serve(signals: &SigSet, main: Pid) -> i32 {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(main) {
                    return code;
                }
            }
            Ok(signal) => {
                let _ = kill(main, signal);
            }
            Err(_) => {}
        }
    }
}

/// Reaps all that has ended; the exit code when the main process has.
fn reap(main: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == main => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => code = Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            Ok(_) => {}
            Err(_) => return code,
        }
    }
}
