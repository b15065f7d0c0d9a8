//! The last steps of a process before it becomes the user's program.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::pty::{posix_openpt, ptsname_r, unlockpt};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, access, execve, setgid, setgroups, setsid, setuid};

use super::helper::{Stdio, tell};
use super::spec::{Answer, CAPABILITIES, Process};
use crate::sys;

/// Becomes the program. Returns (the exit code) only when it could not.
pub(super) fn run(process: &Process, stdio: &Stdio, socket: &OwnedFd) -> i32 {
    let error = match become_program(process, stdio, socket) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    tell(socket, &Answer::Failed(error.to_string()));
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

fn become_program(
    process: &Process,
    stdio: &Stdio,
    socket: &OwnedFd,
) -> io::Result<std::convert::Infallible> {
    setsid()?;
    if process.terminal {
        open_terminal(process, socket)?.install()?;
        sys::take_terminal(io::stdin())?;
    } else {
        stdio.install()?;
    }
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    std::env::set_current_dir(cwd).map_err(|e| {
        io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("cannot enter the working directory {cwd}: {e}"),
        )
    })?;
    drop_privileges(process)?;
    let program = find(process)?;
    let strings = |items: &mut dyn Iterator<Item = String>| -> io::Result<Vec<CString>> {
        items.map(|s| CString::new(s).map_err(io::Error::from)).collect()
    };
    let argv = strings(&mut process.argv.iter().cloned())?;
    let env = strings(&mut process.env.iter().map(|(k, v)| format!("{k}={v}")))?;
    sys::default_signals()?;
    let path = CString::new(program.as_os_str().as_bytes())?;
    let error = match execve(&path, &argv, &env) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    Err(io::Error::new(io::Error::from(error).kind(), format!("exec {}: {error}", program.display())))
}

/// Opens a terminal of this container, so that programs find it under /dev/pts, and hands its other side to the daemon.
fn open_terminal(process: &Process, socket: &OwnedFd) -> io::Result<Stdio> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags)?;
    unlockpt(&master)?;
    let end = nix::fcntl::open(ptsname_r(&master)?.as_str(), flags, Mode::empty())?;
    if process.ids_mapped {
        nix::unistd::fchown(&end, Some(Uid::from_raw(process.uid)), None)?;
    }
    let words = serde_json::to_vec(&Answer::Terminal)?;
    sys::send_message(socket, &words, &[master.as_fd()])?;
    Ok(Stdio { fds: [end.try_clone()?, end.try_clone()?, end] })
}

fn drop_privileges(process: &Process) -> io::Result<()> {
    if let Some(keep) = &process.capabilities {
        for (number, name) in CAPABILITIES.iter().enumerate() {
            if !keep.iter().any(|k| k.eq_ignore_ascii_case(name)) {
                sys::drop_capability(number)?;
            }
        }
    }
    if process.ids_mapped {
        let groups: Vec<Gid> = process.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        setgroups(&groups)?;
        setgid(Gid::from_raw(process.gid))?;
        setuid(Uid::from_raw(process.uid))?;
    }
    if process.no_new_privileges {
        prctl::set_no_new_privs()?;
    }
    Ok(())
}

/// Finds the program as a shell would.
fn find(process: &Process) -> io::Result<PathBuf> {
    let name = process.argv.first().map(String::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no command specified"));
    }
    if name.contains('/') {
        return if Path::new(name).exists() {
            Ok(name.into())
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("exec: {name:?}: stat {name}: no such file or directory"),
            ))
        };
    }
    let path = process.env.iter().rev().find(|(k, _)| k == "PATH").map_or("/usr/bin:/bin", |(_, v)| v);
    let executable = |dir: &str| {
        let file = Path::new(OsStr::new(dir)).join(name);
        (access(&file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()).then_some(file)
    };
    path.split(':').filter(|dir| !dir.is_empty()).find_map(executable).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("exec: {name:?}: executable file not found in $PATH"))
    })
}
