//! The helper process: makes the namespaces, forks, reports, ends.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

use super::spec::{Answer, Order};
use super::{exec, init};
use crate::sys::{self, Sibling};

/// Standard input, output and error of the process to start.
pub(super) struct Stdio {
    pub(super) fds: [OwnedFd; 3],
}

impl Stdio {
    pub(super) fn install(&self) -> io::Result<()> {
        for (fd, number) in self.fds.iter().zip(0..) {
            sys::replace_stdio(fd, number)?;
        }
        Ok(())
    }
}

/// `main` of the hidden sub-command; standard input is the socket to the daemon. Must run before any thread is started.
pub fn container_main(_args: &[OsString]) -> i32 {
    let Some(socket) = crate::launch::take_stdin() else { return 2 };
    match work(&socket) {
        Ok(()) => 0,
        Err(error) => {
            tell(&socket, &Answer::Failed(error.to_string()));
            1
        }
    }
}

pub(super) fn tell(socket: &OwnedFd, answer: &Answer) {
    if let Ok(bytes) = serde_json::to_vec(answer) {
        // A daemon that is gone takes us along; there is nobody to tell.
        let _ = sys::send_message(socket, &bytes, &[]);
    }
}

fn work(socket: &OwnedFd) -> io::Result<()> {
    let missing =
        || io::Error::other("the order is incomplete: this sub-command is for the daemon's own use");
    let (_, fds) = sys::receive_message(socket)?.ok_or_else(missing)?;
    let mut fds = fds.into_iter();
    let mut order = File::from(fds.next().ok_or_else(missing)?);
    order.rewind()?;
    let order: Order = serde_json::from_reader(order)?;
    let namespace = if matches!(order, Order::Run(_)) { Some(fds.next().ok_or_else(missing)?) } else { None };
    let rest: Vec<OwnedFd> = fds.collect();
    let stdio = Stdio { fds: rest.try_into().map_err(|_| missing())? };
    match &order {
        Order::Run(_) => {
            setns(namespace.as_ref().ok_or_else(missing)?, CloneFlags::CLONE_NEWNET)?;
            let flags = CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC;
            unshare(flags)?;
        }
        Order::Exec { init, .. } => enter(*init)?,
    }
    match sys::fork_sibling()? {
        Sibling::Id(id) => {
            tell(socket, &Answer::Pid(id));
            Ok(())
        }
        Sibling::New => {
            let code = match &order {
                Order::Run(container) => init::main(container, &stdio, socket),
                Order::Exec { process, .. } => exec::run(process, &stdio, socket),
            };
            std::process::exit(code);
        }
    }
}

/// Enters every namespace of a running container.
fn enter(init: i32) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(init).ok_or_else(|| io::Error::other("no such process"))?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    setns(pidfd.as_fd(), flags)?;
    Ok(())
}
