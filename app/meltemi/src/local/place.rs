//! Where a local cluster lives on disk.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The directory of one local cluster and the files in it that the CLI knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// The directory given by the user, or `$XDG_DATA_HOME/meltemi`, or `~/.local/share/meltemi`.
    ///
    /// # Errors
    /// When neither is set, or the path cannot be made absolute.
    pub fn new(data_dir: Option<&Path>) -> anyhow::Result<Self> {
        let root = match data_dir {
            Some(path) => path.to_owned(),
            None => default_root().context("no home directory found; say where with --data-dir DIR")?,
        };
        Ok(Self { root: std::path::absolute(&root).with_context(|| format!("bad path {}", root.display()))? })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// What the running daemon says of itself, for `status`.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// The detached daemon's log.
    pub fn log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }
}

fn default_root() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")))?;
    Some(base.join("meltemi"))
}
