//! The programs as children of this process, each with a log of its own.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Children that end when this is dropped.
pub struct Programs {
    built: PathBuf,
    data_dir: PathBuf,
    running: Vec<(String, Child)>,
}

impl Programs {
    pub fn new(built: &Path, data_dir: &Path) -> Self {
        Self { built: built.to_owned(), data_dir: data_dir.to_owned(), running: Vec::new() }
    }

    /// Starts one; what it says goes to `NAME.log` in the data directory.
    pub fn start(&mut self, name: &str, arguments: &[String]) -> Result<()> {
        let program = self.built.join(name);
        let log = self.log(name);
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(&program)
            .args(arguments)
            .current_dir(&self.data_dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}: build it with `make kubernetes`", program.display()))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// An error once any of them has ended.
    pub fn check(&mut self) -> Result<()> {
        let logs: Vec<PathBuf> = self.running.iter().map(|(name, _)| self.log(name)).collect();
        for ((name, child), log) in self.running.iter_mut().zip(logs) {
            if let Some(status) = child.try_wait()? {
                bail!("{name} has ended ({status}); see {}", log.display());
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.data_dir.join(format!("{name}.log"))
    }
}

/// A port of the loopback that nobody has at present.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
