//! The data directory's lock: who runs there, and how to stop it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{LaunchError, system};

/// A daemon that runs in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The outer process; signals to it stop the daemon.
    pub pid: i32,
}

fn open(data_dir: &Path) -> Result<File, LaunchError> {
    let path = data_dir.join("lock");
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(system(format!("cannot open {}", path.display())))
}

/// Takes the lock for this process, or says who has it.
pub(super) fn lock(data_dir: &Path) -> Result<Flock<File>, LaunchError> {
    std::fs::create_dir_all(data_dir).map_err(system(format!("cannot make {}", data_dir.display())))?;
    match Flock::lock(open(data_dir)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let write = |file: &mut File| {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "{}", std::process::id())
            };
            write(&mut lock).map_err(system("cannot write the lock"))?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            Err(LaunchError::AlreadyRunning { data_dir: data_dir.into(), pid: read_pid(&mut file) })
        }
    }
}

fn read_pid(file: &mut File) -> i32 {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(32).read_to_string(&mut text);
    text.trim().parse().unwrap_or(0)
}

/// The daemon of a data directory, if one runs.
pub fn running(data_dir: &Path) -> Option<Running> {
    let file = File::options().read(true).write(true).open(data_dir.join("lock")).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err((mut file, _)) => Some(Running { pid: read_pid(&mut file) }).filter(|r| r.pid > 0),
    }
}

/// Stops the daemon of a data directory and waits until nothing of it is left. `false` if none ran.
pub fn stop(data_dir: &Path, patience: Duration) -> Result<bool, LaunchError> {
    let Some(found) = running(data_dir) else { return Ok(false) };
    let signal = |signal| match kill(Pid::from_raw(found.pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(LaunchError::System(format!("cannot stop process {}", found.pid), error.into())),
    };
    signal(Signal::SIGTERM)?;
    let deadline = Instant::now() + patience;
    while running(data_dir).is_some_and(|now| now.pid == found.pid) {
        if Instant::now() > deadline {
            signal(Signal::SIGKILL)?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_tells_who_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(running(dir.path()), None);
        let held = lock(dir.path()).unwrap();
        assert_eq!(running(dir.path()), Some(Running { pid: std::process::id() as i32 }));
        let error = lock(dir.path()).unwrap_err().to_string();
        assert!(error.contains("already running") && error.contains("meltemi down"), "{error}");
        drop(held);
        assert_eq!(running(dir.path()), None);
        assert!(!stop(dir.path(), Duration::ZERO).unwrap());
    }
}
